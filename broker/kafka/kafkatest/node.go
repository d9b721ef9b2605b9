package kafkatest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	checkpointFile = "bootstrap.checkpoint"
	stopTimeout    = 30 * time.Second
)

// node is a broker and controller in one process. It has a listener CLIENT for the clients under
// test, more of them for those in lanes, BROKER for the other brokers and for this package, and
// CONTROLLER.
type node struct {
	id                         int
	dir                        string // of its properties, log and data
	client, broker, controller string // addresses to listen on
	lanes                      []listener
	voters                     string // id@address of every controller
	settings                   map[string]string

	process *exec.Cmd
	exited  chan struct{} // closed when the process is gone; nil when none was ever started
}

// listener of a lane: LANE0, LANE1, …
type listener struct{ addr, advertised string }

func (n *node) logDir() string     { return filepath.Join(n.dir, "data") }
func (n *node) serverLog() string  { return filepath.Join(n.dir, "server.log") }
func (n *node) properties() string { return filepath.Join(n.dir, "server.properties") }

// format makes a data folder as kafka.tools.StorageTool does, for a new node of a cluster.
func (n *node) format(in installation, clusterID string) error {
	if err := os.MkdirAll(n.logDir(), 0o755); err != nil {
		return err
	}
	checkpoint, err := os.ReadFile(filepath.Join(in.dir, checkpointFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.logDir(), checkpointFile), checkpoint, 0o644); err != nil {
		return err
	}
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, n.id, newID())
	if err := os.WriteFile(filepath.Join(n.logDir(), "meta.properties"), []byte(meta), 0o644); err != nil {
		return err
	}
	return n.writeProperties()
}

func (n *node) writeProperties() error {
	common := "CLIENT://" + n.client + ",BROKER://" + n.broker
	listeners, advertised := common, common
	for i, l := range n.lanes {
		listeners += fmt.Sprintf(",LANE%d://%s", i, l.addr)
		advertised += fmt.Sprintf(",LANE%d://%s", i, l.advertised)
	}
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        fmt.Sprint(n.id),
		"broker.rack":                    Rack(n.id),
		"controller.quorum.voters":       n.voters,
		"listeners":                      listeners + ",CONTROLLER://" + n.controller,
		"advertised.listeners":           advertised,
		"listener.security.protocol.map": "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "BROKER",
		"log.dirs":                       n.logDir(),
	}
	maps.Copy(p, n.settings)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		// A backslash begins an escape in a file of properties.
		fmt.Fprintf(&text, "%s=%s\n", key, strings.ReplaceAll(p[key], `\`, `\\`))
	}
	return os.WriteFile(n.properties(), []byte(text.String()), 0o644)
}

// start starts the process. It does not wait until it serves.
func (n *node) start(in installation, o Options) error {
	if n.running() {
		return fmt.Errorf("node %d runs already", n.id)
	}
	log, err := os.OpenFile(n.serverLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"-XX:+UseSerialGC", "-Xmx" + o.heap(), "-XX:-UsePerfData",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn", // 300 lines of settings
	}
	if !o.Fast {
		args = append(args, "-XX:TieredStopAtLevel=1")
	}
	if len(o.jvm) > 0 {
		args = append(args, o.jvm...)
	} else {
		// An archive that another Java made is not used, and not worth a word.
		args = append(args, "-XX:SharedArchiveFile="+in.archive(), "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
	}
	args = append(args, "-cp", strings.Join(in.jars, string(filepath.ListSeparator)), "kafka.Kafka", n.properties())
	cmd := exec.Command(in.java, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, n.dir
	cmd.SysProcAttr = dieWithParent()

	started, exited := make(chan error), make(chan struct{})
	go func() {
		// On Linux the death of the thread that starts a process counts as that of the parent.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended does not matter, and is in its log
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	n.process, n.exited = cmd, exited
	return nil
}

func (n *node) running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// kill ends the process at once, and returns when it is gone.
func (n *node) kill() {
	if n.running() {
		_ = n.process.Process.Kill() // fails when it has just ended
		<-n.exited
	}
}

// stop has the process shut down in order.
func (n *node) stop() error {
	if !n.running() {
		return nil
	}
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	select {
	case <-n.exited:
		return nil
	case <-time.After(stopTimeout):
		n.kill()
		return fmt.Errorf("node %d has not stopped within %v and was killed; its log ends:\n%s", n.id, stopTimeout, n.logTail())
	}
}

// logTail is the end of the server's log, for errors.
func (n *node) logTail() []byte {
	out, err := os.ReadFile(n.serverLog())
	if err != nil {
		return []byte(err.Error())
	}
	return tail(out)
}

// ended is why a process that should run does not.
func (n *node) ended() error {
	if n.portTaken() {
		return fmt.Errorf("node %d: %w", n.id, errPortTaken)
	}
	return fmt.Errorf("node %d has ended; its log %s ends:\n%s", n.id, n.serverLog(), n.logTail())
}

func (n *node) portTaken() bool {
	out, err := os.ReadFile(n.serverLog())
	return err == nil && bytes.Contains(out, []byte("Address already in use"))
}

// newID returns an id as Kafka writes them: 16 bytes in base64 for URLs.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f           // a '-' in front would look like an option
	return base64.RawURLEncoding.EncodeToString(b[:])
}
