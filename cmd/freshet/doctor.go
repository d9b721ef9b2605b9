package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	broker "github.com/freshet-io/freshet/broker/embedded"
	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

// Exit statuses of `freshet doctor`.
const (
	doctorWarnings exitError = 1
	doctorErrors   exitError = 2
)

func newDoctor() *cobra.Command {
	var server string
	var flags nodeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "What is wrong, and what to do about it",
		Long: "Looks at the disk, the limits of the system, memory, clock, the last stop, snapshots, backlog, recall, and dead\n" +
			"letters of a running server; with --config at the configuration too; with --data at the folder of a stopped\n" +
			"server. Exit status 1 with warnings, 2 with errors.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := doctor(cmd.Context(), server, flags)
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(gateway.Findings{Findings: list}); err != nil {
					return err
				}
			} else {
				printFindings(cmd.OutOrStdout(), list)
			}
			return doctorExit(list)
		},
	}
	serverFlag(cmd, &server)
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// doctor gathers what can be found out from here; that something can't be looked at is a finding.
func doctor(ctx context.Context, server string, flags nodeFlags) (list []gateway.Finding) {
	cfg, err := flags.load()
	if err != nil {
		list = append(list, gateway.Finding{Level: gateway.LevelError, Check: "configuration", Detail: err.Error(), Remedy: "mend the file; `freshet config lint` checks it alone"})
	} else if flags.config != "" {
		list = append(list, gateway.Finding{Level: gateway.LevelOK, Check: "configuration", Detail: flags.config + " can be read"})
	}
	if flags.data != "" {
		if err != nil {
			return list
		}
		return append(list, doctorFolder(ctx, cfg)...)
	}
	var there gateway.Findings
	serr := newClient(server).do(ctx, http.MethodGet, "/v1/admin/doctor", "", nil, &there)
	if serr == nil {
		return append(list, there.Findings...)
	}
	list = append(list, gateway.Finding{Level: gateway.LevelError, Check: "server", Detail: serr.Error(),
		Remedy: "start it with `freshet run`, or name it with --server; --data looks at the folder of a stopped one"})
	if err == nil {
		list = append(list, doctorPort(cfg))
	}
	return list
}

// doctorFolder looks at the folder of a stopped server.
func doctorFolder(ctx context.Context, cfg config.Config) []gateway.Finding {
	list, err := node.DoctorFolder(ctx, node.Options{Config: cfg, Version: version, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		return list
	}
	remedy := "the message says what to do; `freshet verify --data` checks every checksum"
	if errors.Is(err, broker.ErrLocked) {
		remedy = "a server has it open: leave --data out, and name the server with --server"
	}
	return []gateway.Finding{{Level: gateway.LevelError, Check: "data folder", Detail: err.Error(), Remedy: remedy}}
}

// doctorPort says whether a server could take its port.
func doctorPort(cfg config.Config) gateway.Finding {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return gateway.Finding{Level: gateway.LevelError, Check: "port", Detail: fmt.Sprintf("%s can't be listened on: %v", cfg.Listen, err),
			Remedy: "another program has it; choose another address with --listen, or `listen` in the configuration"}
	}
	l.Close()
	return gateway.Finding{Level: gateway.LevelOK, Check: "port", Detail: cfg.Listen + " is free"}
}

func printFindings(w io.Writer, list []gateway.Finding) {
	for _, f := range list {
		fmt.Fprintf(w, "%-8s %-14s %s\n", f.Level, f.Check, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(w, "%-8s %-14s → %s\n", "", "", f.Remedy)
		}
	}
}

func doctorExit(list []gateway.Finding) error {
	worst := error(nil)
	for _, f := range list {
		switch {
		case f.Level == gateway.LevelError:
			return doctorErrors
		case f.Level == gateway.LevelWarning:
			worst = doctorWarnings
		}
	}
	return worst
}
