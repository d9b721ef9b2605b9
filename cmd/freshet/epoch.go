package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/control"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

func newEpoch() *cobra.Command {
	cmd := &cobra.Command{Use: "epoch", Short: "Histories of a data folder: list them, begin a new one"}
	cmd.AddCommand(newEpochList(), newEpochRaise())
	return cmd
}

func newEpochList() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the epochs of the data folder of a stopped server, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := node.Epochs(disk.OS(), data)
			if err != nil {
				return err
			}
			for _, e := range all {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	epochData(cmd, &data)
	return cmd
}

func newEpochRaise() *cobra.Command {
	var data string
	var partitions int
	var withoutJournal bool
	cmd := &cobra.Command{
		Use:   "raise",
		Short: "Begin a new epoch: accept a data folder as it is",
		Long: "For a start that was refused because FORMAT and state/ are of different histories, and to change the number\n" +
			"of partitions. Nothing that the folder holds is lost. The log gets a new identity; tokens that were given out\n" +
			"before count as far as they name what is there. The server must be stopped.\n\n" +
			"With --without-journal the journal is taken for lost: what was searchable stays, events that were accepted and not\n" +
			"yet processed are lost, and what is left of the journal is moved to journal-lost-N. Restore a backup rather than that.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if withoutJournal && partitions != 0 {
				return errors.New("--partitions can't be given with --without-journal; raise the epoch once more for it")
			}
			if withoutJournal {
				e, kept, err := node.RaiseWithoutJournal(disk.OS(), data, time.Now())
				if err != nil {
					return err
				}
				if kept != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "what is left of the journal is in %s\n", filepath.Join(data, kept))
				}
				return printEpoch(cmd, e)
			}
			e, err := node.RaiseEpoch(disk.OS(), data, partitions, time.Now())
			if err != nil {
				return err
			}
			return printEpoch(cmd, e)
		},
	}
	epochData(cmd, &data)
	cmd.Flags().BoolVar(&withoutJournal, "without-journal", false, "go on from the tables: the journal is lost")
	cmd.Flags().IntVar(&partitions, "partitions", 0, "`NUMBER` of partitions from now on; default: as before")
	return cmd
}

func printEpoch(cmd *cobra.Command, e control.Epoch) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "epoch %d has begun at offset %d of events.raw; the log is now %s\n", e.Number, e.Since, e.Log)
	return err
}

func epochData(cmd *cobra.Command, data *string) {
	cmd.Flags().StringVar(data, "data", "", "data `DIR`")
	_ = cmd.MarkFlagRequired("data") // the flag is there
}
