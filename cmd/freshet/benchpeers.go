package main

import (
	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/bench/peers"
)

func newBenchPeers() *cobra.Command {
	cmd := &cobra.Command{Use: "peers", Short: "The other engines that benchmarks compare with"}
	var venv, march string
	install := &cobra.Command{
		Use:   "install",
		Short: "Install hnswlib (built from source), faiss and usearch into a virtual environment",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return peers.Install(cmd.Context(), venv, march, cmd.ErrOrStderr())
		},
	}
	install.Flags().StringVar(&venv, "venv", peers.DefaultVenv, "`DIR` of the virtual environment")
	install.Flags().StringVar(&march, "march", "native", "processor that hnswlib is built for, such as haswell for AVX2 without AVX-512")
	cmd.AddCommand(install)
	return cmd
}
