package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

func newAudit() *cobra.Command {
	var server string
	var flags nodeFlags
	var asJSON, repair bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare the log, the table and the indexes, entity by entity",
		Long: "Folds events.raw anew and compares it with vector.sync, and vector.sync with the indexes, by\n" +
			"version, revision and digest, while traffic goes on. With --data the folder of a stopped server\n" +
			"is opened instead. Exit status 1 when something differs.\n\n" +
			"With --repair what differs is mended: vector.sync by what the log gives, the indexes by vector.sync. Nothing is\n" +
			"deleted only because the log no longer holds it. Then an audit tells what is left.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a gateway.AuditDocument
			var err error
			if flags.data != "" {
				a, err = auditFolder(cmd.Context(), flags, repair)
			} else {
				path := "/v1/admin/audit"
				if repair {
					path = "/v1/admin/repair"
				}
				err = newClient(server).do(cmd.Context(), http.MethodPost, path, "", nil, &a)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return errors.Join(json.NewEncoder(cmd.OutOrStdout()).Encode(a), auditExit(a))
			}
			printAudit(cmd.OutOrStdout(), a)
			return auditExit(a)
		},
	}
	serverFlag(cmd, &server)
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what differs")
	return cmd
}

func auditExit(a gateway.AuditDocument) error {
	if a.Clean {
		return nil
	}
	return exitError(1)
}

func printAudit(w io.Writer, a gateway.AuditDocument) {
	fmt.Fprintf(w, "%d records, %d entities, %d tombstones, %d points, %d dead letters\n",
		a.Records, a.Entities, a.Tombstones, a.Points, a.DeadLetters)
	if a.Repaired > 0 {
		fmt.Fprintf(w, "%d written again\n", a.Repaired)
	}
	if a.Clean {
		fmt.Fprintln(w, "clean: log, table and indexes agree")
		return
	}
	fmt.Fprintf(w, "%d differences:\n", a.Found)
	for _, d := range a.Differences {
		fmt.Fprintf(w, "  %-24s %-8s %s/%s/%s: %s\n", d.Part, d.Kind, d.Collection, d.Namespace, d.EntityID, d.Detail)
	}
	if n := a.Found - int64(len(a.Differences)); n > 0 {
		fmt.Fprintf(w, "  … and %d more\n", n)
	}
}

// auditFolder opens the folder of a stopped server.
func auditFolder(ctx context.Context, flags nodeFlags, repair bool) (a gateway.AuditDocument, err error) {
	cfg, err := flags.load()
	if err != nil {
		return a, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "FORMAT")); err != nil {
		return a, fmt.Errorf("%s is no data folder: %w", cfg.Data, err)
	}
	n, err := node.Open(ctx, node.Options{Config: cfg, NoSources: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.CatchUp(ctx); err != nil {
		return a, err
	}
	audit := n.Audit
	if repair {
		audit = n.Repair
	}
	r, err := audit(ctx)
	if err != nil {
		return a, err
	}
	return gateway.DocumentAudit(r), nil
}
