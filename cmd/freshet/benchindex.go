package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/annbench"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

// graphFlags are the flags of a graph to build.
type graphFlags struct{ m, efc int }

func (f *graphFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.m, "m", ann.DefaultM, "links per point")
	cmd.Flags().IntVar(&f.efc, "efc", ann.DefaultEfConstruction, "candidates while building")
}

// caseFlags are the flags of a measurement of one index on one data set.
type caseFlags struct {
	data  dataFlags
	ours  indexFlags
	graph graphFlags
}

func (f *caseFlags) add(cmd *cobra.Command, n int) {
	f.data.add(cmd, n)
	f.ours.add(cmd)
	f.graph.add(cmd)
}

// open returns the data set, with n vectors when the flags name no number, and the options of the index.
func (f *caseFlags) open(n int, noTruth bool) (*dataset.Set, ann.Options, error) {
	index, err := f.ours.one(f.graph.m, f.graph.efc)
	if err != nil {
		return nil, index, err
	}
	set, err := f.data.open(n, noTruth)
	return set, index, err
}

func newBenchChurn() *cobra.Command {
	const live = 20_000
	var of caseFlags
	var o annbench.ChurnOptions
	cmd := &cobra.Command{
		Use:   "churn",
		Short: "Upserts/s in place and recall after each turn, beside hnswlib's replace_deleted",
		Long:  "Half of the vectors are live; each turn replaces all of them by the other half, in random order.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Set, o.Index, err = of.open(2*live, true); err != nil {
				return err
			}
			o.Log = cmd.ErrOrStderr()
			r, err := annbench.Churn(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := annbench.WriteChurn(cmd.OutOrStdout(), r); err != nil {
				return err
			}
			return printResult(cmd, map[string]any{"results": r}, true)
		},
	}
	f := cmd.Flags()
	of.add(cmd, 2*live)
	f.BoolVar(&o.Peer, "peer", true, "measure hnswlib too")
	f.StringVar(&o.Venv, "venv", peers.DefaultVenv, "`DIR` of the virtual environment with the peers")
	f.IntVar(&o.CPU, "cpu", 0, "processor to pin to; -1 for none")
	f.IntVar(&o.K, "k", 10, "neighbours")
	f.IntVar(&o.Turns, "turns", 3, "how often everything is replaced")
	f.Float64Var(&o.PeerTurns, "peer-turns", 1, "the same for hnswlib, which is slow; a fraction is fine")
	f.Float64Var(&o.Target, "target", 0.98, "recall of the fresh index, which fixes ef")
	return cmd
}

func newBenchMixed() *cobra.Command {
	var of caseFlags
	var o annbench.MixedOptions
	var lowPriority bool
	cmd := &cobra.Command{
		Use:   "mixed",
		Short: "p99 of searches on one processor while another one replaces vectors; what the collector takes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Set, o.Index, err = of.open(dataset.DefaultN, true); err != nil {
				return err
			}
			o.Index.LowPriority = lowPriority
			o.Log = cmd.ErrOrStderr()
			r, err := annbench.Mixed(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printResult(cmd, r, true)
		},
	}
	f := cmd.Flags()
	of.add(cmd, dataset.DefaultN)
	f.IntVar(&o.K, "k", 10, "neighbours")
	f.IntVar(&o.Ef, "ef", 60, "candidates while searching")
	f.Float64Var(&o.Upserts, "upserts", 2000, "replacements per second")
	f.Float64Var(&o.Seconds, "seconds", 5, "length of a phase")
	f.IntVar(&o.Rounds, "rounds", 3, "phases of each kind, in turns")
	f.IntVar(&o.SearchCPU, "search-cpu", 0, "processor of the searches; -1 for any")
	f.IntVar(&o.WorkCPU, "work-cpu", 1, "processor of everything else; -1 for any")
	f.BoolVar(&lowPriority, "low-priority", false, "background work on threads of lower priority")
	return cmd
}

func newBenchFilter() *cobra.Command {
	var of caseFlags
	var o annbench.FilterOptions
	cmd := &cobra.Command{
		Use:   "filter",
		Short: "Recall and p50 of searches under filters of 50 to 0.01 %, intersections, and matches far from the query",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if of.data.source.NQ == 0 {
				of.data.source.NQ = 200
			}
			if o.Set, o.Index, err = of.open(dataset.DefaultN, false); err != nil {
				return err
			}
			o.Log, o.Seed = cmd.ErrOrStderr(), of.data.source.Seed
			rows, err := annbench.Filters(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := annbench.WriteFilters(cmd.OutOrStdout(), rows); err != nil {
				return err
			}
			return printResult(cmd, map[string]any{"results": rows}, true)
		},
	}
	f := cmd.Flags()
	of.add(cmd, dataset.DefaultN)
	f.IntVar(&o.K, "k", 10, "neighbours")
	f.IntVar(&o.CPU, "cpu", 0, "processor to pin to; -1 for none")
	f.Float64Var(&o.Target, "target", 0.98, "recall without a filter, which fixes ef")
	return cmd
}

func newBenchMemory() *cobra.Command {
	var of caseFlags
	var k, cpu int
	var target float64
	cmd := &cobra.Command{
		Use:   "memory",
		Short: "Bytes per vector of kinds and precisions of the index, with the recall and queries/s of each",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := of.ours.parse()
			if err != nil {
				return err
			}
			for i := range list {
				list[i].M, list[i].EfConstruction = of.graph.m, of.graph.efc
			}
			set, err := of.data.open(dataset.DefaultN, false)
			if err != nil {
				return err
			}
			rows, err := annbench.Memory(cmd.Context(), set, list, k, cpu, target, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := annbench.WriteMemory(cmd.OutOrStdout(), rows); err != nil {
				return err
			}
			return printResult(cmd, map[string]any{"results": rows}, true)
		},
	}
	f := cmd.Flags()
	of.add(cmd, dataset.DefaultN)
	f.IntVar(&k, "k", 10, "neighbours")
	f.IntVar(&cpu, "cpu", 0, "processor to pin to; -1 for none")
	f.Float64Var(&target, "target", 0.98, "recall to reach")
	f.Lookup("precision").DefValue = fmt.Sprint([]string{"float32", "float16", "int8"})
	of.ours.precisions = []string{"float32", "float16", "int8"}
	return cmd
}
