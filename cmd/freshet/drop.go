package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/gateway"
)

func newDrop() *cobra.Command {
	var server, confirm string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "drop COLLECTION [NAMESPACE]",
		Short: "Empty a collection, or a namespace of it",
		Long: "Removes all entities of a collection, or of one of its namespaces, at once and for good: what was accepted\n" +
			"before counts no more, late repeats and dead letters of it have no effect, and events that come now start\n" +
			"anew, also with the same event ids. The collection itself stays. Who follows the changes is told so.",
		Example: "  freshet drop products acme --confirm products/acme",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, path := args[0], "/v1/collections/"+url.PathEscape(args[0])
			if len(args) == 2 {
				name += "/" + args[1]
				path += "/namespaces/" + url.PathEscape(args[1])
			}
			if confirm != name {
				return fmt.Errorf("--confirm: give %q to confirm: all that is in it goes, and does not come back", name)
			}
			var r gateway.DropReport
			if err := newClient(server).do(cmd.Context(), http.MethodDelete, path+"?confirm="+url.QueryEscape(name), "", nil, &r); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "dropped: %s\n", name)
			return err
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().StringVar(&confirm, "confirm", "", "the `NAME` once more: COLLECTION, or COLLECTION/NAMESPACE")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
