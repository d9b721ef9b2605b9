package kafkatest

import (
	"errors"
	"net"
	"testing"
)

func TestPortOfAnother(t *testing.T) {
	k := Start(t, Options{})
	if err := k.Stop(0); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", k.nodes[0].client)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := k.Start(0); !errors.Is(err, errPortTaken) {
		t.Errorf("a start without its port: %v", err)
	}
}
