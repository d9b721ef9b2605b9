package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/bench/annbench"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
)

func newBenchANN() *cobra.Command {
	var data dataFlags
	var ours indexFlags
	var peerList, svg string
	var asJSON, rows bool
	o := annbench.Options{}
	cmd := &cobra.Command{
		Use:   "ann",
		Short: "Recall and queries/s of the index beside hnswlib, faiss and usearch",
		Long: "Builds every engine with every pair of --m and --efc, one thread on one processor, and measures its curve\n" +
			"of recall and queries per second of processor time, in rounds that take turns. The peers are Python\n" +
			"packages: `freshet bench peers install` installs them once. The last line of standard output is JSON.\n" +
			"100,000 vectors of 256 dimensions take about 20 minutes, a quarter of that with --m 16 --efc 200.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Peers, err = peers.Parse(peerList); err != nil {
				return err
			}
			if o.Ours, err = ours.parse(); err != nil {
				return err
			}
			if o.Set, err = data.open(dataset.DefaultN, false); err != nil {
				return err
			}
			slices.Sort(o.Ef)
			o.Log = cmd.ErrOrStderr()
			title := fmt.Sprintf("%s, %d × %d, %v", o.Set.Name, o.Set.Base.Rows(), o.Set.Base.Dim, o.Set.Metric)
			fmt.Fprintf(o.Log, "%s, %d queries; clock: processor time of the process; on processor %d\n", title, o.Set.Queries.Rows(), o.CPU)
			r, err := annbench.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if svg != "" {
				if err := os.WriteFile(svg, r.SVG(title), 0o644); err != nil {
					return err
				}
			}
			return printCurves(cmd.OutOrStdout(), r, rows, asJSON)
		},
	}
	f := cmd.Flags()
	data.add(cmd, dataset.DefaultN)
	ours.add(cmd)
	f.StringVar(&peerList, "peers", "hnswlib,faiss,usearch", "engines beside ours, or none")
	f.StringSliceVar(&o.Indexes, "indexes", nil, "indexes of the peers, such as HNSWFlat,f32 (default all)")
	f.StringVar(&o.Venv, "venv", peers.DefaultVenv, "`DIR` of the virtual environment with the peers")
	f.IntSliceVar(&o.M, "m", []int{16, 24}, "links per point")
	f.IntSliceVar(&o.Efc, "efc", []int{100, 200}, "candidates while building")
	f.IntSliceVar(&o.Ef, "ef", annbench.DefaultEf(), "candidates while searching")
	f.Float64Var(&o.Until, "until", annbench.DefaultUntil, "recall at which the sweep of --ef stops")
	f.IntVar(&o.K, "k", 10, "neighbours")
	f.IntVar(&o.CPU, "cpu", 0, "processor to pin to; -1 for none")
	f.IntVar(&o.Rounds, "rounds", 3, "timed rounds of every engine; the best counts")
	f.Float64Var(&o.Seconds, "seconds", 0.2, "processor seconds per point and round")
	f.Float64Var(&o.Target, "target", 0.98, "recall at which engines are compared")
	f.BoolVar(&rows, "rows", false, "also print every point as a table")
	f.StringVar(&svg, "svg", "", "draw the curves into `FILE`")
	f.BoolVar(&asJSON, "json", true, "print the results as JSON on the last line")
	cmd.AddCommand(newBenchChurn(), newBenchMixed(), newBenchFilter(), newBenchMemory())
	return cmd
}

// printCurves prints the comparison, with rows all points before it, and as JSON after it.
func printCurves(out io.Writer, r *annbench.Result, rows, asJSON bool) error {
	if rows {
		if err := r.WriteRows(out); err != nil {
			return err
		}
	}
	if err := r.WriteTable(out); err != nil || !asJSON {
		return err
	}
	return r.WriteJSON(out)
}
