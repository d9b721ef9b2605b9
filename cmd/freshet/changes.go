package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

func newChanges() *cobra.Command {
	var server, collection, namespace, after string
	var follow, vectors bool
	cmd := &cobra.Command{
		Use:   "changes",
		Short: "Print the committed changes of a collection, and follow them",
		Long: "Prints a line of JSON per change, in the order in which they were committed: first the latest change of\n" +
			"every entity, then, with --follow, what comes. Each has a token; --after goes on behind it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"collection": {collection}, "follow": {strconv.FormatBool(follow)}, "vectors": {strconv.FormatBool(vectors)}}
			if namespace != "" {
				query.Set("namespace", namespace)
			}
			if after != "" {
				query.Set("after", after)
			}
			res, err := newClient(server).send(cmd.Context(), http.MethodGet, "/v1/changes?"+query.Encode(), "", nil)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			return printChanges(cmd, bufio.NewReader(res.Body))
		},
	}
	serverFlag(cmd, &server)
	f := cmd.Flags()
	f.StringVar(&collection, "collection", "default", "`NAME`")
	f.StringVar(&namespace, "namespace", "", "`NAME`; default all of the collection")
	f.StringVar(&after, "after", "", "`TOKEN` of a change, or now")
	f.BoolVar(&follow, "follow", false, "go on with what comes")
	f.BoolVar(&vectors, "vectors", false, "with the vectors")
	return cmd
}

// printChanges prints the lines of a stream. One that failed ends with a problem document.
func printChanges(cmd *cobra.Command, r *bufio.Reader) error {
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			e := &statusError{}
			if json.Unmarshal(line, &struct {
				Status *int `json:"status"`
				*problem
			}{&e.status, &e.problem}) == nil && e.Code != "" {
				return e
			}
			if _, err := cmd.OutOrStdout().Write(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
