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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet"
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
			"deleted only because the log no longer holds it. Then an audit tells what is left.\n\n" +
			"Where the log is in Kafka each process audits the partitions that it decides: the other processes that are known are\n" +
			"asked too, and --server URL,URL names more. Exit status 2 when nothing differs, but partitions were left out.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a gateway.AuditDocument
			var err error
			if flags.data != "" {
				a, err = auditFolder(cmd.Context(), flags, repair)
			} else {
				a, err = auditServers(cmd.Context(), strings.Split(server, ","), repair)
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
	cmd.Flags().StringVar(&server, "server", defaultServer, "`URL` of the running server, or of several with a log in Kafka: URL,URL")
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what differs")
	return cmd
}

func auditExit(a gateway.AuditDocument) error {
	switch {
	case !a.Clean:
		return exitError(1)
	case !a.Whole:
		return exitError(2)
	}
	return nil
}

// auditServers has each of the servers audit what it decides, one after the other, and those that they say decide the rest, and puts it
// together. One that was not named and does not answer is left out.
func auditServers(ctx context.Context, servers []string, repair bool) (sum gateway.AuditDocument, err error) {
	named := len(servers)
	for i := range servers {
		servers[i] = newClient(servers[i]).base
	}
	path := "/v1/admin/audit"
	if repair {
		path = "/v1/admin/repair"
	}
	for i := 0; i < len(servers); i++ {
		var a gateway.AuditDocument
		if err := newClient(servers[i]).do(ctx, http.MethodPost, path, "", nil, &a); err != nil {
			if i >= named && ctx.Err() == nil {
				continue
			}
			return sum, err
		}
		for _, other := range a.Others {
			if !slices.Contains(servers, other) {
				servers = append(servers, other)
			}
		}
		if i == 0 {
			sum = a
			sum.Others = nil
			continue
		}
		news := func(p int32) bool { return !slices.Contains(sum.Covers, p) }
		if i >= named && len(a.Covers) > 0 && !slices.ContainsFunc(a.Covers, news) {
			continue // it was named by another address
		}
		sum.Clean = sum.Clean && a.Clean
		sum.Through = max(sum.Through, a.Through)
		sum.Records += a.Records
		sum.Entities += a.Entities
		sum.Tombstones += a.Tombstones
		sum.Points += a.Points
		sum.DeadLetters += a.DeadLetters
		sum.Found += a.Found
		sum.Repaired += a.Repaired
		sum.Differences = append(sum.Differences, a.Differences...)
		sum.Covers = append(sum.Covers, a.Covers...)
		for _, g := range a.Gaps {
			if !slices.ContainsFunc(sum.Gaps, func(o freshet.AuditGap) bool { return o.Partition == g.Partition }) {
				sum.Gaps = append(sum.Gaps, g)
			}
		}
	}
	slices.Sort(sum.Covers)
	sum.Covers = slices.Compact(sum.Covers) // one may have gone to the next process meanwhile
	sum.Whole = len(sum.Covers) == sum.Partitions
	return sum, nil
}

func printAudit(w io.Writer, a gateway.AuditDocument) {
	fmt.Fprintf(w, "%d records, %d entities, %d tombstones, %d points, %d dead letters\n",
		a.Records, a.Entities, a.Tombstones, a.Points, a.DeadLetters)
	if a.Repaired > 0 {
		fmt.Fprintf(w, "%d written again\n", a.Repaired)
	}
	if !a.Whole {
		fmt.Fprintf(w, "NOT AUDITED: partitions%s of %d: processes that do not answer decide them, or nobody does now; --server URL,URL names more processes\n", leftOut(a), a.Partitions)
	}
	for _, g := range a.Gaps {
		fmt.Fprintf(w, "NOT AUDITED: offsets %d to %d of partition %d were deleted before an audit could take them in, %s: what stood in vector.sync then is taken for right\n",
			g.From, g.To-1, g.Partition, time.UnixMilli(g.At).UTC().Format(time.RFC3339))
	}
	switch {
	case a.Clean && a.Whole:
		fmt.Fprintln(w, "clean: log, table and indexes agree")
		return
	case a.Clean:
		fmt.Fprintln(w, "clean as far as it goes: log, table and indexes agree in the other partitions")
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

// leftOut names the partitions that were not audited.
func leftOut(a gateway.AuditDocument) (list string) {
	for p := range int32(a.Partitions) {
		if !slices.Contains(a.Covers, p) {
			list += fmt.Sprintf(" %d", p)
		}
	}
	return list
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
