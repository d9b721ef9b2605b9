package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check a configuration, show it with its defaults, describe it to an editor, reload it"}
	cmd.AddCommand(newConfigLint(), newConfigShow(), newConfigSchema(), newConfigReload())
	return cmd
}

func newConfigLint() *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE",
		Short: "Check a configuration as a start does, but for its data folder",
		Long: "Reads the file, compiles the expressions of its mapping and opens the server on an empty folder in memory.\n" +
			"What an existing data folder does not allow to change is found by its start only.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0])
			if err != nil {
				return err
			}
			n, err := node.Open(cmd.Context(), node.Options{Config: cfg, FS: disk.New(vfs.NewMem(), nil), NoSources: true,
				Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return fmt.Errorf("configuration %s: %w", args[0], err)
			}
			n.Kill()
			fmt.Fprintf(cmd.OutOrStdout(), "%s is a valid configuration\n", args[0])
			return nil
		},
	}
}

func newConfigShow() *cobra.Command {
	var flags nodeFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration as it is read: the file, the environment, what is filled in",
		Long:  "Prints the configuration with variables of the environment and most defaults filled in. Of the keys that it\nlacks, `freshet config schema` tells the defaults.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			raw, err := cfg.YAML()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
	flags.add(cmd)
	return cmd
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a configuration",
		Long:  "Prints the JSON Schema. An editor that knows YAML completes and checks a file that begins with\n# yaml-language-server: $schema=freshet.schema.json",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}

func newConfigReload() *cobra.Command {
	var server string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running server read its configuration file anew",
		Long: "The server reads the file of its --config and takes over what has changed, all of it or nothing: retention,\n" +
			"snapshot, limits, sources, index.ef and index.target_recall (of collections too), and new collections. All else\n" +
			"needs a restart, and is named. SIGHUP does the same; the server's log says then what has changed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r gateway.ReloadReport
			if err := newClient(server).do(cmd.Context(), http.MethodPost, "/v1/admin/reload", "", nil, &r); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(r)
			}
			if len(r.Changed) == 0 {
				fmt.Fprintln(out, "nothing has changed")
			}
			for _, k := range r.Changed {
				fmt.Fprintln(out, k)
			}
			return nil
		},
	}
	serverFlag(cmd, &server)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
