package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet"
	"github.com/freshet-io/freshet/gateway"
)

func newIndex() *cobra.Command {
	cmd := &cobra.Command{Use: "index", Short: "List vector indexes and build them anew"}
	cmd.AddCommand(newIndexList(), newIndexRebuild())
	return cmd
}

func newIndexList() *cobra.Command {
	var server string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the vector indexes: kind, size, measured recall, and how far a rebuild is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list gateway.IndexList
			if err := newClient(server).do(cmd.Context(), http.MethodGet, "/v1/admin/index", "", nil, &list); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			printIndexes(cmd.OutOrStdout(), list)
			return nil
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printIndexes(out io.Writer, list gateway.IndexList) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COLLECTION\tNAMESPACE\tKIND\tPRECISION\tM\tEF\tPOINTS\tUNLINKED\tMB\tRECALL@10")
	for _, x := range list.Indexes {
		ef, recall := x.Ef, "-"
		if r := x.Recall; r != nil {
			ef, recall = r.Ef, fmt.Sprintf("%.3f (%.3f to %.3f)", r.Recall, r.Low, r.High)
			if r.Alert {
				recall += fmt.Sprintf(", the target %.3f can't be reached", r.Target)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%.1f\t%s\n", x.Collection, x.Namespace, x.Kind, x.Precision, x.M, ef,
			x.Points, x.InBuffer, float64(x.Bytes)/1e6, recall)
	}
	w.Flush()
	if list.Rebuild != nil {
		fmt.Fprintln(out, rebuildLine(*list.Rebuild))
	}
}

// rebuildLine says in a line how far a rebuild is.
func rebuildLine(r gateway.IndexRebuild) string {
	line := fmt.Sprintf("rebuild of collection %s: %s, %d of %d indexes, %.1f s", r.Collection, r.State, r.Done, r.Indexes, r.Seconds)
	if r.State == "running" && r.Step != "" {
		line += fmt.Sprintf("; namespace %s: %s, %d of %d entities, %d not linked", r.Current, r.Step, r.Copied, r.Entities, r.Unlinked)
	}
	if r.Error != "" {
		line += ": " + r.Error
	}
	return line
}

func newIndexRebuild() *cobra.Command {
	var server string
	body := gateway.RebuildRequest{Collection: new(string)}
	var background bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Build indexes anew, with other settings or the same, while those in use answer",
		Long: "Builds the indexes of a collection anew beside those in use, one after the other, and switches each\n" +
			"when it is whole. Changes go to both. Settings that are given are kept: for the collection, or with\n" +
			"--namespace for that one. It takes the memory of both indexes; when the server stops meanwhile, it has\n" +
			"the old ones at its next start.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := json.Marshal(body)
			if err != nil {
				return err
			}
			c := newClient(server)
			var status gateway.IndexRebuild
			if err := c.do(cmd.Context(), http.MethodPost, "/v1/admin/index/rebuild", "application/json", bytes.NewReader(raw), &status); err != nil {
				return err
			}
			if background {
				fmt.Fprintln(cmd.OutOrStdout(), "begun; `freshet index list` says how far it is")
				return nil
			}
			return followRebuild(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	serverFlag(cmd, &server)
	f := cmd.Flags()
	f.StringVar(body.Collection, "collection", freshet.DefaultCollection, "`NAME`")
	f.StringVar(&body.Namespace, "namespace", "", "`NAME`; default all of the collection")
	f.StringVar(&body.Kind, "kind", "", "hnsw, flat, hnsw_disk, ivf_flat, ivf_pq or ivf_hnsw")
	f.StringVar(&body.Precision, "precision", "", "float32, float16 or int8")
	f.IntVar(&body.M, "m", 0, "links of a point")
	f.IntVar(&body.EfConstruction, "ef-construction", 0, "candidates looked at to link a point")
	f.IntVar(&body.Ef, "ef", 0, "candidates that a search keeps")
	f.Float64Var(&body.TargetRecall, "target-recall", 0, "of the true ten nearest, what searches should find")
	f.BoolVar(&background, "background", false, "do not wait until it is done")
	return cmd
}

// followEvery is how often a rebuild is looked at.
const followEvery = time.Second

// followRebuild prints how far the rebuild is until it has ended.
func followRebuild(ctx context.Context, c *client, out io.Writer) error {
	for last := ""; ; {
		var list gateway.IndexList
		if err := c.do(ctx, http.MethodGet, "/v1/admin/index", "", nil, &list); err != nil {
			return err
		}
		if list.Rebuild == nil {
			return fmt.Errorf("the server was started anew, and has the indexes that it had before")
		}
		if line := rebuildLine(*list.Rebuild); line != last {
			fmt.Fprintln(out, line)
			last = line
		}
		switch list.Rebuild.State {
		case "done":
			return nil
		case "failed":
			return exitError(1)
		}
		select {
		case <-time.After(followEvery / 4):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
