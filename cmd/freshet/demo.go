package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/demo"
	"github.com/freshet-io/freshet/node"
)

// filesCollection is where the demo puts the files of the watched folder.
const filesCollection = "files"

// maxDemoRate bounds --rate: the demo is to be looked at; `freshet bench` is for more.
const maxDemoRate = 20_000

func newDemo() *cobra.Command {
	var listen, data, watch string
	var rate, seconds float64
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a server with a live shop, and say what to open and to try",
		Long: "Runs a server in this process, watches a folder of text files, and sends it the events of a made-up\n" +
			"shop through the HTTP API: a catalogue whose prices and stock change, and customers whose interests\n" +
			"drift. Every few seconds it makes a change and measures the time until a search sees it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if rate <= 0 || rate > maxDemoRate {
				return fmt.Errorf("--rate %g is out of range; give above 0 to %d events/s", rate, maxDemoRate)
			}
			if seconds < 0 {
				return fmt.Errorf("--seconds %g is negative; give 0 to run until interrupted", seconds)
			}
			if data == "" {
				if data, err = os.MkdirTemp("", "freshet-demo-"); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
			}
			cfg, err := demoConfig(listen, data, watch)
			if err != nil {
				return err
			}
			return runDemo(cmd.Context(), cfg, demo.Options{Watching: cfg.Sources.Files[0].Path, Rate: rate,
				For: time.Duration(seconds * float64(time.Second)), Out: cmd.OutOrStdout(), Terminal: isTerminal(os.Stdout),
				Shop: demo.ShopOptions{Seed: 1, Run: "demo-" + strconv.FormatInt(time.Now().UnixMilli(), 36)}})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`HOST:PORT` to serve on (default 127.0.0.1:8080)")
	cmd.Flags().StringVar(&data, "data", "", "data `DIR` (default: a temporary one, removed at the end)")
	cmd.Flags().StringVar(&watch, "watch", ".", "`FOLDER` of text files to keep searchable")
	cmd.Flags().Float64Var(&rate, "rate", 300, "events/s of the shop")
	cmd.Flags().Float64Var(&seconds, "seconds", 0, "how long; 0: until interrupted")
	return cmd
}

// demoConfig is the default configuration with the shop's collections and the watched folder.
func demoConfig(listen, data, watch string) (config.Config, error) {
	cfg := config.Defaults()
	folder, err := filepath.Abs(watch)
	if err != nil {
		return cfg, err
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return cfg, fmt.Errorf("--watch %s is no folder that can be read; name one with text files in it", watch)
	}
	if listen != "" {
		cfg.Listen = listen
	}
	cfg.Data = data
	cfg.Collections = maps.Clone(cfg.Collections)
	for _, name := range []string{demo.Products, demo.Sessions, filesCollection} {
		cfg.Collections[name] = cfg.Collections[freshet.DefaultCollection]
	}
	cfg.Sources.Files = []config.Files{{Path: folder, Collection: filesCollection, Namespace: freshet.DefaultNamespace, MaxBytes: 256 << 10}}
	return cfg, cfg.Validate()
}

// runDemo serves until the demo has ended, which outlives ctx by its last look at the server.
func runDemo(ctx context.Context, cfg config.Config, o demo.Options) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	address := make(chan string, 1)
	served := make(chan error, 1)
	go func() {
		served <- serve(serving, node.Options{Config: cfg}, slog.LevelWarn, nil, func(addr string) { address <- addr })
	}()
	select {
	case err := <-served:
		return err
	case addr := <-address:
		o.Server = "http://" + addr
	}
	var summary demo.Summary
	ended := make(chan error, 1)
	go func() {
		var err error
		summary, err = demo.Run(ctx, o)
		ended <- err
	}()
	select {
	case err := <-served:
		return err // the server is gone, so the demo's own error says less
	case err := <-ended:
		stop()
		if err := errors.Join(err, <-served); err != nil {
			return err
		}
	}
	if summary.Audited && !summary.Clean {
		return exitError(1)
	}
	return nil
}

// isTerminal reports whether lines can be overwritten in f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
