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
	var flags nodeFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the epochs of the data folder of a stopped server, or of a log in Kafka, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			var all []control.Epoch
			switch {
			case cfg.Broker.Kafka != nil:
				all, err = node.KafkaEpochs(cmd.Context(), node.Options{Config: cfg})
			case flags.data != "":
				all, err = node.Epochs(disk.OS(), flags.data)
			default:
				err = errEpochOf
			}
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
	flags.add(cmd)
	return cmd
}

var errEpochOf = errors.New("name the data folder with --data, or the configuration of a log in Kafka with --config")

func newEpochRaise() *cobra.Command {
	var flags nodeFlags
	var partitions int
	var withoutJournal, withoutCopy bool
	cmd := &cobra.Command{
		Use:   "raise",
		Short: "Begin a new epoch: accept a data folder, or topics in Kafka, as they are",
		Long: "For a start that was refused because FORMAT and state/ are of different histories, and to change the number\n" +
			"of partitions. Nothing that the folder holds is lost. The log gets a new identity; tokens that were given out\n" +
			"before count as far as they name what is there. The server must be stopped.\n\n" +
			"With --without-journal the journal is taken for lost: what was searchable stays, events that were accepted and not\n" +
			"yet processed are lost, and what is left of the journal is moved to journal-lost-N. Restore a backup rather than that.\n\n" +
			"With a --config that names Kafka it is for topics that were deleted and made again, and to give the log more\n" +
			"partitions: those of the configuration, a multiple of what it has. All processes must be stopped. What the data\n" +
			"folder has of a compacted topic that was made again is written into it; an interrupted raise is to be repeated.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			if cfg.Broker.Kafka != nil {
				if withoutJournal || partitions != 0 {
					return errors.New("--without-journal and --partitions are for a log in the data folder; in Kafka the number is that of the configuration")
				}
				return raiseKafka(cmd, node.RelayoutOptions{Options: node.Options{Config: cfg}, WithoutCopy: withoutCopy})
			}
			if flags.data == "" {
				return errEpochOf
			}
			data := flags.data
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
	flags.add(cmd)
	cmd.Flags().BoolVar(&withoutCopy, "without-copy", false, "in Kafka: go on though no copy of what was lost is there")
	cmd.Flags().BoolVar(&withoutJournal, "without-journal", false, "go on from the tables: the journal is lost")
	cmd.Flags().IntVar(&partitions, "partitions", 0, "`NUMBER` of partitions from now on; default: as before")
	return cmd
}

// raiseKafka raises the epoch of a log in Kafka.
func raiseKafka(cmd *cobra.Command, o node.RelayoutOptions) error {
	o.Tell = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
	e, changed, err := node.RaiseKafkaEpoch(cmd.Context(), o)
	if err != nil {
		return err
	}
	if !changed {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "the topics are as the log was begun with: nothing to raise")
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "epoch %d has begun; the log is now %s\n", e.Number, e.Log)
	return err
}

func printEpoch(cmd *cobra.Command, e control.Epoch) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "epoch %d has begun at offset %d of events.raw; the log is now %s\n", e.Number, e.Since, e.Log)
	return err
}
