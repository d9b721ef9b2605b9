package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// listed is the part of a dead letter that a list shows.
type listed struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Ordinal   int    `json:"ordinal"`
	Stage     string `json:"stage"`
	Class     string `json:"class"`
	Message   string `json:"message"`
	At        string `json:"at"`
	EntityID  string `json:"entity_id"`
}

func newDLQ() *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "Dead letters, events that could not be applied: look at them, replay or drop them"}
	cmd.AddCommand(newDLQList(), newDLQShow(), newDLQTake("replay"), newDLQTake("drop"))
	return cmd
}

func newDLQList() *cobra.Command {
	var server string
	var from int64
	var limit, partition int
	var asJSON, latest bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters in order of the log, in Kafka of time, or the latest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var raw struct {
				DeadLetters []json.RawMessage `json:"dead_letters"`
			}
			path := fmt.Sprintf("/v1/admin/dlq?limit=%d", limit)
			if latest {
				path += "&order=desc"
			}
			if cmd.Flags().Changed("from") {
				path += fmt.Sprintf("&from=%d", from)
			}
			if cmd.Flags().Changed("partition") {
				path += fmt.Sprintf("&partition=%d", partition)
			}
			if err := newClient(server).do(cmd.Context(), http.MethodGet, path, "", nil, &raw); err != nil {
				return err
			}
			for _, m := range raw.DeadLetters {
				if asJSON {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\n", m)
					continue
				}
				var l listed
				if err := json.Unmarshal(m, &l); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s/%d@%d  %s  %-8s  %-18s  %s  %s\n", l.Topic, l.Partition, l.Offset, l.At, l.Stage, l.Class,
					l.EntityID, strings.ReplaceAll(l.Message, "\n", " "))
			}
			if len(raw.DeadLetters) == 0 && !asJSON {
				fmt.Fprintln(cmd.OutOrStdout(), "no dead letters")
			}
			return nil
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().Int64Var(&from, "from", 0, "first `OFFSET` of events.raw, in Kafka of events.keyed, or with --latest the last")
	cmd.Flags().IntVar(&partition, "partition", 0, "only of records of this `PARTITION`")
	cmd.Flags().BoolVar(&latest, "latest", false, "the latest first")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, a line each")
	return cmd
}

func newDLQShow() *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:   "show OFFSET",
		Short: "Show the dead letters of one record, with the event",
		Long: "Shows the dead letters of one record. OFFSET is a position as `freshet dlq list` prints it, or only its number; in Kafka\n" +
			"each partition may have that one.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := placeOf(args[0])
			if err != nil {
				return err
			}
			var raw struct {
				DeadLetters []json.RawMessage `json:"dead_letters"`
			}
			if err := newClient(server).do(cmd.Context(), http.MethodGet, "/v1/admin/dlq?limit=1000&"+query, "", nil, &raw); err != nil {
				return err
			}
			out := json.NewEncoder(cmd.OutOrStdout())
			out.SetIndent("", "  ")
			for _, m := range raw.DeadLetters {
				if err := out.Encode(m); err != nil {
					return err
				}
			}
			if len(raw.DeadLetters) == 0 {
				return fmt.Errorf("%s is no dead letter", args[0])
			}
			return nil
		},
	}
	serverFlag(cmd, &server)
	return cmd
}

// placeOf is the part of a request that names a record, of a number or a position like events.raw/3@1234.
func placeOf(arg string) (query string, err error) {
	place, number, whole := strings.Cut(arg, "@")
	if !whole {
		place, number = "", arg
	}
	offset, err := strconv.ParseInt(number, 10, 64)
	query = fmt.Sprintf("offset=%d", offset)
	if err == nil && whole {
		var partition int64
		partition, err = strconv.ParseInt(place[strings.LastIndexByte(place, '/')+1:], 10, 32)
		query += fmt.Sprintf("&partition=%d", partition)
	}
	if err != nil {
		return "", fmt.Errorf("offset %q: give a number, or a position like events.raw/3@1234", arg)
	}
	return query, nil
}
