package main

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/config"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/node"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check a configuration, show it with its defaults, describe it to an editor"}
	cmd.AddCommand(newConfigLint(), newConfigShow(), newConfigSchema())
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
