package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/bench"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure freshet on this machine"}
	cmd.AddCommand(newBenchFreshness(), newBenchIngest(), newBenchBacklog(), newBenchUpkeep(), newBenchStart(), newBenchSearch(), newBenchANN(), newBenchRunbook(), newBenchData(), newBenchPeers())
	return cmd
}

// printResult prints a result: with --json on one line, else indented.
func printResult(cmd *cobra.Command, result any, asJSON bool) error {
	out := json.NewEncoder(cmd.OutOrStdout())
	if !asJSON {
		out.SetIndent("", "  ")
	}
	return out.Encode(result)
}

func benchFlags(cmd *cobra.Command, dir *string, asJSON *bool) {
	cmd.Flags().StringVar(dir, "dir", "", "`DIR` in which the data folder is made and removed (default: the temporary folder)")
	cmd.Flags().BoolVar(asJSON, "json", false, "print the result on one line")
}

func newBenchFreshness() *cobra.Command {
	var o bench.FreshnessOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "freshness",
		Short: "Time from sending an event over HTTP to the first search that returns it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if o.Rate <= 0 || o.Seconds <= 0 || o.Every < 1 || o.Connections < 1 {
				return fmt.Errorf("--rate, --seconds, --every and --connections must be above zero")
			}
			r, err := bench.Freshness(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printResult(cmd, r, asJSON)
		},
	}
	cmd.Flags().Float64Var(&o.Rate, "rate", 2000, "events/s")
	cmd.Flags().Float64Var(&o.Seconds, "seconds", 20, "how long")
	cmd.Flags().IntVar(&o.Every, "every", 20, "search for every so many-th event")
	cmd.Flags().IntVar(&o.Connections, "connections", 32, "requests in flight at most")
	benchFlags(cmd, &o.Dir, &asJSON)
	return cmd
}

func newBenchIngest() *cobra.Command {
	var o bench.IngestOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ingest",
		Short: "Durable events/s over HTTP and in process, and events/s to searchable",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if o.Seconds <= 0 || o.Connections < 1 || o.Entities < 1 || o.EventBytes < 120 {
				return fmt.Errorf("--seconds, --connections and --entities must be above zero, --bytes at least 120")
			}
			r, err := bench.Ingest(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printResult(cmd, r, asJSON)
		},
	}
	cmd.Flags().Float64Var(&o.Seconds, "seconds", 10, "how long each durable measurement takes")
	cmd.Flags().IntVar(&o.EventBytes, "bytes", 200, "size of an event, newline included")
	cmd.Flags().IntVar(&o.Connections, "connections", 4, "requests in flight")
	cmd.Flags().IntVar(&o.Entities, "entities", 50_000, "entities of the pipeline measurements")
	benchFlags(cmd, &o.Dir, &asJSON)
	return cmd
}

func newBenchBacklog() *cobra.Command {
	var o bench.BacklogOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backlog",
		Short: "Memory of a server whose events wait to be processed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if o.Seconds <= 0 || o.Rate < 1 || o.EventBytes < 120 {
				return fmt.Errorf("--seconds and --rate must be above zero, --bytes at least 120")
			}
			r, err := bench.Backlog(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printResult(cmd, r, asJSON)
		},
	}
	cmd.Flags().IntVar(&o.Rate, "rate", 20_000, "events/s")
	cmd.Flags().Float64Var(&o.Seconds, "seconds", 300, "how long")
	cmd.Flags().IntVar(&o.EventBytes, "bytes", 200, "size of an event, newline included")
	benchFlags(cmd, &o.Dir, &asJSON)
	return cmd
}
