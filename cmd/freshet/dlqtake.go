package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/gateway"
)

// newDLQTake is the command that replays dead letters, or drops them.
func newDLQTake(verb string) *cobra.Command {
	var server string
	var q gateway.LettersRequest
	var asJSON bool
	about := map[string][2]string{
		"replay": {"Have the events of dead letters decided again",
			"The events keep their places in the log and their versions: one has its effect unless something newer has\n" +
				"had one, and once, whatever crashes. What fails again stays a dead letter, with one attempt more. Live events go first."},
		"drop": {"Remove dead letters for good", "Their events stay without effect. What is dropped can't be brought back."},
	}[verb]
	cmd := &cobra.Command{
		Use:   verb + " {--all | --stage | --class | --collection | --namespace | --entity | --since | --until}",
		Short: about[0],
		Long: about[0] + ": those that have everything that is named, or all. " + about[1] +
			"\n\nWhat was cut short is gone on with by giving the command again. Exit status 1 when some failed again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, at := range []*string{&q.Since, &q.Until} {
				if d, err := time.ParseDuration(*at); err == nil {
					*at = time.Now().Add(-d).UTC().Format(time.RFC3339)
				}
			}
			sum, err := takeLetters(cmd.Context(), newClient(server), verb, q)
			if asJSON {
				err = errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(sum))
			} else if sum.Matched > 0 || err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), lettersSummary(verb, q.DryRun, sum))
			}
			if err == nil && sum.Failed > 0 {
				return exitError(1)
			}
			return err
		},
	}
	serverFlag(cmd, &server)
	f := cmd.Flags()
	f.BoolVar(&q.All, "all", false, "all dead letters")
	f.StringVar(&q.Stage, "stage", "", "only of this `STAGE`: map, validate, sequence, patch or embed")
	f.StringVar((*string)(&q.Class), "class", "", "only of this `CLASS`, the code of the error")
	f.StringVar(&q.Collection, "collection", "", "only of this collection")
	f.StringVar(&q.Namespace, "namespace", "", "only of this namespace")
	f.StringVar(&q.EntityID, "entity", "", "only of this entity `ID`")
	f.StringVar(&q.Since, "since", "", "only of events since this `TIME`: RFC 3339, or how long ago, like 36h")
	f.StringVar(&q.Until, "until", "", "only of events before this `TIME`, likewise")
	f.BoolVar(&q.DryRun, "dry-run", false, "only count")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// takeLetters goes through the dead letters that there were at the beginning, in as many requests as it takes.
func takeLetters(ctx context.Context, c *client, verb string, q gateway.LettersRequest) (sum gateway.LettersResult, err error) {
	for {
		body, err := json.Marshal(q)
		if err != nil {
			return sum, err
		}
		var out gateway.LettersResult
		if err := c.do(ctx, http.MethodPost, "/v1/admin/dlq/"+verb, "application/json", bytes.NewReader(body), &out); err != nil {
			return sum, err
		}
		sum.Matched += out.Matched
		sum.Replayed += out.Replayed
		sum.Failed += out.Failed
		sum.Dropped += out.Dropped
		sum.Through = out.Through
		if out.Next == nil {
			return sum, nil
		}
		q.After, q.Through = out.Next, &out.Through
	}
}

func lettersSummary(verb string, dry bool, sum gateway.LettersResult) string {
	switch {
	case dry:
		return fmt.Sprintf("%d dead letters would be taken", sum.Matched)
	case sum.Matched == 0:
		return "no such dead letters"
	case verb == "drop":
		return fmt.Sprintf("%d dead letters dropped", sum.Dropped)
	}
	s := fmt.Sprintf("%d dead letters replayed", sum.Replayed)
	if sum.Failed > 0 {
		s += fmt.Sprintf(", %d failed again: see `freshet dlq list`", sum.Failed)
	}
	return strings.TrimSpace(s)
}
