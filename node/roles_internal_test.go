package node

import (
	"strings"
	"testing"

	"github.com/freshet-io/freshet/wire"
)

func TestRolesOfACluster(t *testing.T) {
	const kafka = "broker: {kafka: {brokers: [a:1]}}\npartitions: 6\n"
	for _, c := range []struct {
		yaml, listens           string
		held, followed, address string
		err                     string
	}{
		{yaml: "", listens: "127.0.0.1:80", held: "0-5", followed: "0-5", address: "http://127.0.0.1:80"},
		{yaml: "", listens: "[::]:80", held: "0-5", followed: "0-5"}, // alone it needs no address
		{yaml: "advertise: https://db.internal/", listens: "0.0.0.0:80", held: "0-5", followed: "0-5", address: "https://db.internal"},
		{yaml: "roles: [source, process, query]", listens: "0.0.0.0:80", held: "0-5", followed: "0-5"},
		{yaml: "roles: [source]", listens: "0.0.0.0:80"},
		{yaml: "roles: [source, process]", listens: "0.0.0.0:80", followed: "0-5"},
		{yaml: "roles: [query]\nquery: {partitions: 1-2}", listens: "10.0.0.1:80", held: "1-2", followed: "1-2", address: "http://10.0.0.1:80"},
		{yaml: "roles: [query, process]\nquery: {partitions: '1,3'}", listens: "db:80", held: "1,3", followed: "0-5", address: "http://db:80"},
		{yaml: "roles: [query]", listens: "[::]:80", err: "advertise: is missing"},
		{yaml: "query: {partitions: 0}", listens: "0.0.0.0:80", err: "advertise: is missing"},
	} {
		n := &Cluster{}
		n.opts = Options{Config: parse(t, kafka+c.yaml), Address: c.listens}
		err := n.setRoles()
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), c.listens) {
				t.Errorf("%s: %v", c.yaml, err)
			}
		case err != nil || wire.PartitionsString(n.held) != c.held || wire.PartitionsString(n.followed) != c.followed || n.address != c.address:
			t.Errorf("%s: %v, holds %v, follows %v, at %q", c.yaml, err, n.held, n.followed, n.address)
		case n.whole() != (c.held == "0-5") || n.whole() != (n.part() == nil):
			t.Errorf("%s: whole is %v, its part %+v", c.yaml, n.whole(), n.part())
		}
	}
}
