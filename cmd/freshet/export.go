package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/transfer"
)

func newExport() *cobra.Command {
	var server string
	var quiet bool
	var o transfer.ExportOptions
	cmd := &cobra.Command{
		Use:   "export FILE|-",
		Short: "Write the entities of a collection to a file: NDJSON or Parquet",
		Long: "Writes every entity as it is at one instant, with text, metadata, vectors and times, while the server goes on.\n" +
			"The file gets its name once it is whole. The token that is printed is the place of that instant in the changes:\n" +
			"`freshet changes --after TOKEN` tells what came behind it.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := newClient(server)
			o.Server = &transfer.Server{URL: client.base, HTTP: client.http}
			start := time.Now()
			show := func(n int64) {
				fmt.Fprintf(cmd.ErrOrStderr(), "\r%d entities, %.0f/s ", n, float64(n)/max(time.Since(start).Seconds(), 1e-6))
			}
			var drawn time.Time
			o.Progress = func(n int64) {
				if now := time.Now(); !quiet && now.Sub(drawn) > 100*time.Millisecond {
					drawn = now
					show(n)
				}
			}
			done, err := transfer.Export(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			if !quiet {
				show(done.Entities)
				fmt.Fprintln(cmd.ErrOrStderr())
			}
			said := cmd.OutOrStdout()
			if args[0] == "-" {
				said = cmd.ErrOrStderr()
			}
			fmt.Fprintf(said, "%d entities\nthe changes go on behind: %s\n", done.Entities, done.Token)
			return nil
		},
	}
	serverFlag(cmd, &server)
	f := cmd.Flags()
	f.StringVar(&o.Collection, "collection", "default", "`NAME`")
	f.StringVar(&o.Namespace, "namespace", "", "`NAME`; default all of the collection")
	f.StringVar(&o.Filter, "filter", "", "only entities that a `FILTER` matches, as searches have it: JSON or CEL")
	f.StringVar(&o.Form, "format", "", "`FORM`: ndjson or parquet; default what the file's name says")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

func newImport() *cobra.Command {
	var flags transferFlags
	var collection, namespace string
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Send the entities of an export, or of `freshet changes --vectors`, to the server",
		Long: "Sends entities with their vectors, as events that are made durable and decided like any others. Vectors are not made\n" +
			"again where the collection has the model that made them, or takes ready vectors; else the text is embedded anew, and\n" +
			"this says so. An entity that the collection has already takes the state that the file says, unless its order is newer.\n\n" +
			"An import that was interrupted is repeated with the same command: it goes on where it was, and has its effect once.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd, args[0], func(o transfer.Options) (transfer.Result, error) {
				return transfer.Import(cmd.Context(), args[0], transfer.ImportOptions{Options: o, Collection: collection, Namespace: namespace})
			})
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&collection, "collection", "", "`NAME` to import into; default the one that the file names")
	f.StringVar(&namespace, "namespace", "", "`NAME` to import into; default the ones that the file names")
	return cmd
}
