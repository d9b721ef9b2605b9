package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/backup"
	"github.com/freshet-io/freshet/disk"
	"github.com/freshet-io/freshet/gateway"
	"github.com/freshet-io/freshet/node"
)

func newBackup() *cobra.Command {
	b := backupCommand{}
	cmd := &cobra.Command{
		Use:   "backup FILE|FOLDER|-",
		Short: "Back up a running server, or the data folder of a stopped one",
		Long: "Writes a backup of everything that was acknowledged before it began, while the server goes on: as one\n" +
			"file (a tar archive), to standard output with -, or with --folder as a folder, where files that an\n" +
			"earlier such folder has too (--base) are linked and not sent again. With --data the folder of a stopped\n" +
			"server is read instead. Every byte has a checksum; a backup gets its name once it is checked and durable.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd, args[0]) },
	}
	serverFlag(cmd, &b.server)
	f := cmd.Flags()
	f.StringVar(&b.data, "data", "", "data `DIR` of a stopped server, instead of a running one")
	f.BoolVar(&b.folder, "folder", false, "write a folder of files")
	f.StringVar(&b.base, "base", "", "earlier backup in a `FOLDER`: what is the same there is linked; with --folder")
	f.Float64Var(&b.rate, "rate", 0, "`MB` that are read per second, so that the server is not disturbed; default: no limit")
	f.BoolVar(&b.asJSON, "json", false, "print JSON")
	return cmd
}

type backupCommand struct {
	server, data, base string
	folder, asJSON     bool
	rate               float64
}

func (b *backupCommand) run(cmd *cobra.Command, target string) error {
	if b.base != "" && !b.folder {
		return errors.New("--base is for --folder: a file or a stream has nothing to link to")
	}
	if b.rate < 0 {
		return fmt.Errorf("--rate: %g is negative; give MB per second, or leave it out", b.rate)
	}
	began := time.Now()
	r, err := b.open(cmd.Context())
	if err != nil {
		return err
	}
	defer r.Close()
	var m *backup.Manifest
	out := cmd.OutOrStdout()
	switch {
	case target == "-":
		m, err = backup.Check(cmd.Context(), io.TeeReader(r, out))
		out = cmd.ErrOrStderr()
	case b.folder:
		m, err = backup.SaveFolder(cmd.Context(), disk.OS(), target, b.base, r)
	default:
		m, err = backup.SaveFile(cmd.Context(), disk.OS(), target, r)
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return printBackup(out, "backed up", m, time.Since(began), b.asJSON)
}

// open returns the stream of a backup.
func (b *backupCommand) open(ctx context.Context) (io.ReadCloser, error) {
	body := gateway.BackupRequest{BytesPerSecond: int64(b.rate * 1e6)}
	if b.base != "" {
		m, err := backup.ReadManifest(disk.OS(), b.base)
		if err != nil {
			return nil, fmt.Errorf("--base: %w", err)
		}
		body.Base = m.Files
	}
	if b.data != "" {
		r, w := io.Pipe()
		go func() {
			_, err := node.BackupFolder(ctx, disk.OS(), b.data, w, version, backup.Options(body))
			w.CloseWithError(err)
		}()
		return r, nil
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	res, err := newClient(b.server).send(ctx, http.MethodPost, "/v1/admin/backup", "application/json", bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// backupReport is what `freshet backup` and `freshet restore` print as JSON.
type backupReport struct {
	backup.Info
	Files    int     `json:"files"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	NewLog   string  `json:"new_log,omitempty"`
	NewEpoch uint32  `json:"new_epoch,omitempty"`
}

func printBackup(out io.Writer, what string, m *backup.Manifest, took time.Duration, asJSON bool) error {
	return backupReport{Info: m.Info, Files: len(m.Files), Bytes: m.Bytes(), Seconds: took.Seconds()}.print(out, what, asJSON)
}

func (r backupReport) print(out io.Writer, what string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	_, err := fmt.Fprintf(out, "%s: %d files, %.1f MB, events.raw up to offset %d, log %s of epoch %d, as of %s, in %.1f s\n",
		what, r.Files, float64(r.Bytes)/1e6, r.RawEnd-1, r.Log, r.Epoch, r.At.Format(time.RFC3339), r.Seconds)
	return err
}

func newRestore() *cobra.Command {
	var data string
	var check, asJSON bool
	cmd := &cobra.Command{
		Use:   "restore FILE|FOLDER|-",
		Short: "Make a data folder of a backup",
		Long: "Reads a backup (a file, a folder, or with - standard input) into an empty or new data folder. Every byte\n" +
			"is checked before anything is used; what is damaged is named, and nothing is left then. The log gets\n" +
			"a new identity and a new epoch: what is changed from now on counts more than all that was changed after the backup.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			began := time.Now()
			if check {
				m, err := readBackup(cmd.InOrStdin(), args[0],
					func(r io.Reader) (*backup.Manifest, error) { return backup.Check(cmd.Context(), r) },
					func(dir string) (*backup.Manifest, error) { return backup.CheckFolder(cmd.Context(), disk.OS(), dir) })
				if err != nil {
					return err
				}
				return printBackup(cmd.OutOrStdout(), "the backup is whole", m, time.Since(began), asJSON)
			}
			if data == "" {
				return errors.New("--data: name the empty or new folder to restore into")
			}
			r, err := node.Restore(disk.OS(), data, began, func(f backup.Folder) (*backup.Manifest, error) {
				return readBackup(cmd.InOrStdin(), args[0],
					func(r io.Reader) (*backup.Manifest, error) { return f.Unpack(cmd.Context(), r) },
					func(dir string) (*backup.Manifest, error) { return f.Copy(cmd.Context(), dir) })
			})
			if err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			report := backupReport{Info: r.Manifest.Info, Files: len(r.Manifest.Files), Bytes: r.Manifest.Bytes(),
				Seconds: time.Since(began).Seconds(), NewLog: r.Epoch.Log, NewEpoch: r.Epoch.Number}
			if err := report.print(cmd.OutOrStdout(), "restored", asJSON); err != nil || asJSON {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the log is now %s of epoch %d; start it with: freshet run --data %s\n", r.Epoch.Log, r.Epoch.Number, data)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "empty or new data `DIR`")
	cmd.Flags().BoolVar(&check, "check", false, "only read the backup, and report what is wrong with it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// readBackup reads a backup, whatever its form.
func readBackup(stdin io.Reader, source string, stream func(io.Reader) (*backup.Manifest, error), folder func(string) (*backup.Manifest, error)) (*backup.Manifest, error) {
	if source == "-" {
		return stream(stdin)
	}
	if info, err := os.Stat(source); err != nil {
		return nil, err
	} else if info.IsDir() {
		return folder(source)
	}
	r, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return stream(r)
}
