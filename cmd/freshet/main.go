// Command freshet keeps a vector index true to an event stream. One file a subcommand; the
// parts are put together in package node.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the Makefile.
var version = "dev"

// exitError ends the process with a status of its own and says nothing more.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		fmt.Fprintln(os.Stderr, "freshet:", err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "freshet",
		Short:         "Keeps a vector index true to an event stream",
		Long:          "freshet keeps a vector index true to an event stream: events come in, are made durable,\nbecome vectors, and are searchable milliseconds later, each exactly once.",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newRun(), newIngest(), newExport(), newImport(), newAudit(), newDLQ(), newChanges(), newBench(), newDemo(), newIndex(), newConfig(), newService(), newBackup(), newRestore(),
		newVerify(), newCompact(), newDoctor(), newDrop(), newEpoch(), newMove())
	return root
}
