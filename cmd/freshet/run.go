package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/console"
	"github.com/freshet-io/freshet/gateway"
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
	var roles []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the server: every role in one process, or some on Kafka",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			read := func() (config.Config, error) {
				cfg, err := flags.load()
				if listen != "" {
					cfg.Listen = listen
				}
				if err == nil && len(roles) > 0 {
					cfg.Roles = roles
					err = cfg.Validate()
				}
				return cfg, err
			}
			cfg, err := read()
			if err != nil {
				return err
			}
			o := node.Options{Config: cfg}
			if flags.config != "" {
				o.Read = read
			}
			hangups := make(chan os.Signal, 1) // one that comes during another is not lost
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			return serve(cmd.Context(), o, slog.LevelInfo, hangups, func(addr string) {
				what := "data in " + cfg.Data
				if cfg.OnlyEmbeds() {
					what = "as an embed worker"
				}
				fmt.Fprintf(os.Stderr, "freshet %s serves http://%s, %s\n", version, addr, what)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringSliceVar(&roles, "role", nil, "`ROLES` of this process: some of "+strings.Join(config.Roles, ",")+", where the log is in Kafka (default all)")
	cmd.Flags().StringVar(&listen, "listen", "", "`HOST:PORT` to serve on (default 127.0.0.1:8080)")
	return cmd
}

// serve runs a node and its HTTP server until ctx ends. The port is taken first, so that a
// busy one is told before anything is opened; requests are answered once the node is open.
// What is logged goes to stderr, from the level on. Each of the hangups reloads the configuration.
func serve(ctx context.Context, o node.Options, level slog.Level, hangups <-chan os.Signal, started func(addr string)) error {
	listener, err := net.Listen("tcp", o.Config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; choose another address with --listen", err)
	}
	defer listener.Close()
	// The vector index links on threads of low priority; see ann.Options.LowPriority.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + max(1, runtime.NumCPU()/2))
	o.Page, o.Version, o.Address = console.Page, version, listener.Addr().String()
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	n, err := openNode(ctx, o)
	if err != nil {
		return err
	}
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	server := &http.Server{Handler: n.Gateway(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return serving }}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	go reload(serving, n, hangups)
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

// served is a node of either kind.
type served interface {
	Gateway() *gateway.Server
	Failed() <-chan error
	Reload(context.Context) (gateway.ReloadReport, error)
	Close() error
}

// openNode opens the node that the configuration asks for: with the log in the data folder, or in Kafka.
func openNode(ctx context.Context, o node.Options) (served, error) {
	if o.Config.OnlyEmbeds() {
		return node.OpenEmbedder(ctx, o)
	}
	if o.Config.Broker.Kafka != nil {
		return node.OpenCluster(ctx, o)
	}
	return node.Open(ctx, o)
}

// reload reloads the configuration at each hangup until ctx ends. The node says in its log what became of it.
func reload(ctx context.Context, n served, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			_, _ = n.Reload(ctx)
		}
	}
}
