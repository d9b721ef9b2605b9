package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Version of Apache Kafka.
const Version = "4.3.0"

// installTimeout limits fetching 44 MB and making the archive, and waiting for another process that does.
const installTimeout = 8 * time.Minute

// pom names the server and a logger for it.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>io.freshet</groupId>
  <artifactId>kafkatest</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + Version + `</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`

// installation is a folder of the user's cache:
//
//	lib/                   the jars
//	bootstrap.checkpoint   what a newly formatted node knows: the features of this version
//	classes.jsa            classes as the JVM maps them; without it a start takes twice as long
type installation struct {
	dir, java string
	jars      []string // full paths
}

// Install makes sure that Kafka is in the user's cache, and fetches it when it is not. Several
// processes may call it at once.
func Install() error {
	_, err := install()
	return err
}

var install = sync.OnceValues(func() (installation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	java, err := exec.LookPath("java")
	if err != nil {
		return installation{}, errors.New("Kafka needs Java 17 or newer: no java on the PATH (Debian: apt-get install openjdk-17-jre-headless)")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return installation{}, fmt.Errorf("a folder for Kafka: %w", err)
	}
	parent := filepath.Join(cache, "freshet-test")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return installation{}, fmt.Errorf("a folder for Kafka: %w", err)
	}
	in := installation{dir: filepath.Join(parent, "kafka-"+Version), java: java}
	unlock, err := lock(ctx, in.dir+".lock")
	if err != nil {
		return installation{}, err
	}
	defer unlock()
	if _, err := os.Stat(in.dir); errors.Is(err, fs.ErrNotExist) {
		if err := in.fetch(ctx, parent); err != nil {
			return installation{}, fmt.Errorf("fetching Kafka: %w", err)
		}
	}
	if in.jars, err = jars(in.dir); err != nil {
		return installation{}, err
	}
	if _, err := os.Stat(in.archive()); errors.Is(err, fs.ErrNotExist) {
		if err := in.makeArchive(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "Kafka starts slowly, without an archive of its classes:", err)
		}
	}
	return in, nil
})

// lock waits until this process alone has a file locked.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		l, err := vfs.Default.Lock(path)
		if err == nil {
			return func() { _ = l.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", path, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fetch fills a folder beside the installation's, which takes its name when it is complete.
func (in installation) fetch(ctx context.Context, parent string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return errors.New("no mvn on the PATH (Debian: apt-get install maven)")
	}
	dir, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		return err
	}
	fetch := exec.CommandContext(ctx, mvn, "--batch-mode", "--no-transfer-progress", "--quiet",
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
	fetch.Dir = dir
	if err := run(fetch); err != nil {
		return err
	}
	if in.jars, err = jars(dir); err != nil {
		return err
	}
	if err := in.makeCheckpoint(ctx, dir); err != nil {
		return err
	}
	return os.Rename(dir, in.dir)
}

// makeCheckpoint formats a node as an administrator would, and keeps what is the same in every
// node. Formatting each would take as long as starting it.
func (in installation) makeCheckpoint(ctx context.Context, dir string) error {
	data, err := os.MkdirTemp("", "freshet-kafka-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	n := &node{dir: data, voters: "0@127.0.0.1:1", controller: "127.0.0.1:1", client: "127.0.0.1:2", broker: "127.0.0.1:3"}
	if err := n.writeProperties(); err != nil {
		return err
	}
	format := exec.CommandContext(ctx, in.java, "-cp", strings.Join(in.jars, string(filepath.ListSeparator)), "kafka.tools.StorageTool",
		"format", "--cluster-id", newID(), "--config", n.properties())
	if err := run(format); err != nil {
		return err
	}
	return os.Rename(filepath.Join(n.logDir(), checkpointFile), filepath.Join(dir, checkpointFile))
}

// makeArchive starts a node that leaves an archive of its classes behind when it stops.
func (in installation) makeArchive(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "freshet-kafka-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made := in.archive() + ".new"
	defer os.Remove(made)
	k, err := in.run(dir, Options{jvm: []string{"-XX:ArchiveClassesAtExit=" + made}})
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.Stop(0); err != nil {
		return err
	}
	return os.Rename(made, in.archive())
}

func (in installation) archive() string { return filepath.Join(in.dir, "classes.jsa") }

func jars(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "lib", "*.jar"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no jars in %s: delete that folder, and Kafka is fetched again", filepath.Join(dir, "lib"))
	}
	slices.Sort(found) // the archive is of one order
	return found, nil
}

// run runs a command whose output only matters when it fails.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, tail(out))
	}
	return nil
}

// tail is the end of an output: 30 lines.
func tail(out []byte) []byte {
	lines := bytes.SplitAfter(out, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-31):], nil)
}
