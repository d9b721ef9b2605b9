package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/console"
	"github.com/freshet-io/freshet/node"
)

// stopTimeout bounds how long requests in flight may take when the server stops.
const stopTimeout = 10 * time.Second

// nodeFlags are the flags of commands that open a data folder.
type nodeFlags struct{ config, data string }

func (f *nodeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "configuration `FILE` (YAML); none is needed")
	cmd.Flags().StringVar(&f.data, "data", "", "data `DIR` (default freshet-data)")
}

func (f *nodeFlags) load() (config.Config, error) {
	c, err := config.Load(f.config)
	if f.data != "" {
		c.Data = f.data
	}
	return c, err
}

func newRun() *cobra.Command {
	var flags nodeFlags
	var listen string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the server: every role in one process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			if listen != "" {
				cfg.Listen = listen
			}
			return serve(cmd.Context(), cfg, slog.LevelInfo, func(addr string) {
				fmt.Fprintf(os.Stderr, "freshet %s serves http://%s, data in %s\n", version, addr, cfg.Data)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&listen, "listen", "", "`HOST:PORT` to serve on (default 127.0.0.1:8080)")
	return cmd
}

// serve runs a node and its HTTP server until ctx ends. The port is taken first, so that a
// busy one is told before anything is opened; requests are answered once the node is open.
// What is logged goes to stderr, from the level on.
func serve(ctx context.Context, cfg config.Config, level slog.Level, started func(addr string)) error {
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; choose another address with --listen", err)
	}
	defer listener.Close()
	// The vector index links on threads of low priority; see ann.Options.LowPriority.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + max(1, runtime.NumCPU()/2))
	n, err := node.Open(ctx, node.Options{Config: cfg, Page: console.Page, Version: version,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))})
	if err != nil {
		return err
	}
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	server := &http.Server{Handler: n.Gateway(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return serving }}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	started(listener.Addr().String())

	select {
	case <-ctx.Done():
	case err = <-failed:
	case err = <-n.Failed():
	}
	stopServing() // who follows changes would hold the stop
	stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if serr := server.Shutdown(stopping); serr != nil {
		server.Close()
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, n.Close())
}
