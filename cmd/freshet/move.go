package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/node"
)

func newMove() *cobra.Command {
	var flags nodeFlags
	var from, to string
	cmd := &cobra.Command{
		Use:   "move",
		Short: "Move the log of a data folder into Kafka",
		Long: "Everything that counts goes into the topics of the configuration: collections, the latest state of every entity with\n" +
			"its version, event ids of the dedupe window, dead letters, deletions. Events that the folder has not decided are\n" +
			"decided first; the events themselves stay behind, and audits begin with what was moved. The server must be\n" +
			"stopped. An interrupted move is to be repeated, and goes on where it was; until it is done a start on these\n" +
			"topics is refused. The folder is left as it is: start no server on it afterwards.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != "kafka" {
				return fmt.Errorf("--to: %q is not known; give kafka", to)
			}
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			if cfg.Broker.Kafka == nil {
				return fmt.Errorf("--config: %q names no Kafka; give it the section broker.kafka", flags.config)
			}
			o := node.RelayoutOptions{Options: node.Options{Config: cfg}, Tell: func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }}
			e, err := node.MoveToKafka(cmd.Context(), o, from)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "epoch %d has begun; the log is now %s, in Kafka\n", e.Number, e.Log)
			return err
		},
	}
	cmd.Flags().StringVar(&flags.config, "config", "", "configuration `FILE` (YAML) with the section broker.kafka")
	cmd.Flags().StringVar(&from, "from", "", "data `DIR` that is moved")
	cmd.Flags().StringVar(&to, "to", "kafka", "`WHERE` to: kafka")
	_ = cmd.MarkFlagRequired("config") // the flags are there
	_ = cmd.MarkFlagRequired("from")
	return cmd
}
