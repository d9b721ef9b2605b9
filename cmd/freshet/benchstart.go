package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/bench"
)

func newBenchStart() *cobra.Command {
	var o bench.StartOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Time from kill -9 to the first answer, with a warm and with a cold page cache",
		Long: "Fills a server with entities of ready vectors, saves the index, changes some entities, kills\n" +
			"the process, and measures the time from its next start to the answer to a search over all.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if o.Entities < 1 || o.Dim < 2 || o.Rounds < 1 || o.Tail < 0 || o.Tail > o.Entities {
				return fmt.Errorf("--entities and --rounds must be above zero, --dim at least 2, --tail from 0 to --entities")
			}
			r, err := bench.Start(cmd.Context(), o, func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) })
			if err != nil {
				return err
			}
			return printResult(cmd, r, asJSON)
		},
	}
	cmd.Flags().IntVar(&o.Entities, "entities", 100_000, "how many")
	cmd.Flags().IntVar(&o.Dim, "dim", 128, "dimension of their vectors")
	cmd.Flags().IntVar(&o.Tail, "tail", 1000, "entities that change after the index was saved")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "starts of each sort")
	cmd.Flags().BoolVar(&o.Metadata, "metadata", false, "with two fields of metadata")
	cmd.Flags().StringVar(&o.Config, "config-lines", "", "more `YAML` for the server's configuration, such as \"index: {ef_construction: 40}\"")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave the data folder")
	benchFlags(cmd, &o.Dir, &asJSON)
	return cmd
}

func newBenchUpkeep() *cobra.Command {
	var o bench.UpkeepOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "upkeep",
		Short: "What audits, backups, restores and retention cost",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			if o.Entities < 1 || o.Dim < 2 || o.Rate <= 0 || o.Seconds <= 0 || o.Rounds < 0 {
				return fmt.Errorf("--entities, --rate and --seconds must be above zero, --dim at least 2, --rounds not negative")
			}
			r, err := bench.Upkeep(cmd.Context(), o, func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) })
			if err != nil {
				return err
			}
			return printResult(cmd, r, asJSON)
		},
	}
	cmd.Flags().IntVar(&o.Entities, "entities", 100_000, "how many are audited and backed up")
	cmd.Flags().IntVar(&o.Dim, "dim", 128, "dimension of their vectors")
	cmd.Flags().Float64Var(&o.Rate, "rate", 1000, "events/s while retention is measured")
	cmd.Flags().Float64Var(&o.Seconds, "seconds", 15, "how long each of those measurements takes")
	cmd.Flags().IntVar(&o.Rounds, "rounds", 3, "of those, with and without")
	benchFlags(cmd, &o.Dir, &asJSON)
	return cmd
}

func newBenchSearch() *cobra.Command {
	var o bench.SearchOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Searches per second of the product over 16 partitions, and of the index alone",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Entities < 1 || o.Dim < 2 || o.K < 1 || o.Ef < 0 || o.Seconds <= 0 {
				return fmt.Errorf("--entities, --k and --seconds must be above zero, --dim at least 2, --ef not negative")
			}
			r, err := bench.Search(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printResult(cmd, r, asJSON)
		},
	}
	cmd.Flags().IntVar(&o.Entities, "entities", 50_000, "how many")
	cmd.Flags().IntVar(&o.Dim, "dim", 256, "dimension of their vectors")
	cmd.Flags().IntVar(&o.K, "k", 10, "hits of a search")
	cmd.Flags().IntVar(&o.Ef, "ef", 100, "width of a search")
	cmd.Flags().Float64Var(&o.Seconds, "seconds", 3, "how long each measurement takes")
	benchFlags(cmd, &o.Dir, &asJSON)
	return cmd
}
