package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// output runs the program and returns what it printed.
func output(args ...string) (string, error) {
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func TestConfigLint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "freshet.yaml")
	for text, want := range map[string]string{
		"":                 "",
		"partitions: 4":    "",
		"partitions: -1":   "partitions",
		"no_such_key: 1":   "no_such_key",
		"index: {m: 1}":    "M is 1",
		"listen: nonsense": "listen",
		"sources: {files: [{path: a, ignore: ['[a']}]}": "ignore",
		"listen: ${NONE_}": "NONE_",
		"mapping: {changes: [{entity: event.sku +}]}":                      "mapping.changes[0].entity",
		"index: {kind: flat}\nsources: {files: [{path: /no/such/folder}]}": "", // the folder may come later
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := output("config", "lint", file)
		switch {
		case want == "" && (err != nil || !strings.Contains(out, "valid")):
			t.Errorf("%q: %s%v", text, out, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || out != ""):
			t.Errorf("%q: %s%v, want an error about %s", text, out, err, want)
		}
	}
}

func TestConfigShowAndSchema(t *testing.T) {
	out, err := output("config", "show", "--data", "elsewhere")
	if err != nil || !strings.Contains(out, "data: elsewhere\n") || !strings.Contains(out, "interval: 5m0s\n") {
		t.Errorf("%s%v", out, err)
	}
	if out, err = output("config", "schema"); err != nil || !strings.Contains(out, `"splitter"`) {
		t.Errorf("%.200s %v", out, err)
	}
}

// systemd itself reads the unit, where it is installed, and paths that it would expand stand for themselves.
func TestService(t *testing.T) {
	data := filepath.Join(t.TempDir(), `a "b" $HOME %h \c`)
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := output("service", "--data", data, "--user", "root")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(data)
	for _, want := range []string{`--data "` + dir + `/a \"b\" $$HOME %%h \\c"`, `ReadWritePaths="` + dir + `/a \"b\" $HOME %%h \\c"`, "User=root\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the unit lacks %s:\n%s", want, out)
		}
	}
	if strings.Contains(out, "ExecReload") {
		t.Errorf("without a configuration there is nothing to reload:\n%s", out)
	}
	config := filepath.Join(dir, "freshet.yaml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err = output("service", "--data", data, "--user", "root", "--config", config); err != nil || !strings.Contains(out, "\nExecReload=/bin/kill -HUP $MAINPID\n") {
		t.Errorf("the unit does not reload: %v\n%s", err, out)
	}
	if _, err := output("service", "--user", "a b"); err == nil {
		t.Error("a user with a space is taken")
	}
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: the unit is not read by systemd itself")
	}
	file := filepath.Join(t.TempDir(), "freshet.service")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(program, "verify", file).CombinedOutput(); err != nil || strings.Contains(string(said), file) {
		t.Errorf("systemd-analyze: %v\n%s", err, said)
	}
}
