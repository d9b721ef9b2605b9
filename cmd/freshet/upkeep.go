package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

func newVerify() *cobra.Command {
	var server string
	var flags nodeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every checksum: journal, tables, records, snapshots, model",
		Long: "Reads everything that has a checksum, while the server goes on, and names what is damaged. With --data the\n" +
			"folder of a stopped server is read instead. It takes the memory of the largest index besides. Exit status 1\n" +
			"when something is damaged. Whether log, table and indexes agree is told by `freshet audit`.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := verify(cmd.Context(), server, flags)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			} else {
				printVerify(cmd.OutOrStdout(), r)
			}
			if err == nil && !r.Clean {
				return exitError(1)
			}
			return err
		},
	}
	serverFlag(cmd, &server)
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func verify(ctx context.Context, server string, flags nodeFlags) (*gateway.VerifyReport, error) {
	if flags.data == "" {
		r := &gateway.VerifyReport{}
		return r, newClient(server).do(ctx, http.MethodPost, "/v1/admin/verify", "", nil, r)
	}
	cfg, err := flags.load()
	if err != nil {
		return nil, err
	}
	return node.VerifyFolder(ctx, node.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
}

func printVerify(w io.Writer, r *gateway.VerifyReport) {
	for _, p := range r.Parts {
		fmt.Fprintf(w, "%-10s %8d checked", p.Part, p.Items)
		if p.Bytes > 0 {
			fmt.Fprintf(w, ", %.1f MB", float64(p.Bytes)/1e6)
		}
		fmt.Fprintf(w, ", %d damaged\n", len(p.Damaged))
		for _, d := range p.Damaged {
			fmt.Fprintf(w, "  %s: %s\n", d.Name, d.Detail)
		}
	}
	if r.Clean {
		fmt.Fprintln(w, "every checksum is right")
		return
	}
	fmt.Fprintln(w, "damaged snapshots are rebuilt by the next start; damage of journal, tables or records needs `freshet restore` of a backup")
}

func newCompact() *cobra.Command {
	var server, data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Give back the disk space of what was replaced or removed",
		Long: "Rewrites the state (the table of entities, event ids, dead letters) while the server goes on; it needs room for\n" +
			"a second copy. The journal is cut by retention, not by this. With --data the folder of a stopped server.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var r gateway.CompactReport
			if data != "" {
				r, err = node.CompactFolder(cmd.Context(), disk.OS(), data)
			} else {
				err = newClient(server).do(cmd.Context(), http.MethodPost, "/v1/admin/compact", "", nil, &r)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%.1f MB before, %.1f MB after, in %.1f s\n", float64(r.BytesBefore)/1e6, float64(r.BytesAfter)/1e6, r.Seconds)
			return err
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&data, "data", "", "data `DIR` of a stopped server, instead of a running one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
