package kafkatest

// Lane is a way to the nodes that can be cut, while that of other clients is not: a listener of each
// node, behind a TCP proxy whose address is advertised. A client that begins in a lane stays in it.
type Lane struct {
	proxies []*proxy // one of each node
}

// Lane returns one of Options.Lanes, from 0 on.
func (k *Kafka) Lane(i int) *Lane { return k.lanes[i] }

// Addrs are the addresses for clients of the lane, one of each node.
func (l *Lane) Addrs() []string {
	var addrs []string
	for _, p := range l.proxies {
		addrs = append(addrs, p.addr())
	}
	return addrs
}

// Cut holds back all that flows between the lane's clients and nodes, and has new connections hang.
// No node means all of them. What is on the way arrives after Heal, as late as that may be: the
// requests of a client that has been given up meanwhile, too.
func (l *Lane) Cut(nodes ...int) {
	for _, p := range l.of(nodes) {
		p.requests.close()
		p.answers.close()
	}
}

// CutAnswers lets requests through and holds back what the nodes answer: they act, and the client
// does not know it.
func (l *Lane) CutAnswers(nodes ...int) {
	for _, p := range l.of(nodes) {
		p.answers.close()
	}
}

// Heal undoes Cut and CutAnswers.
func (l *Lane) Heal(nodes ...int) {
	for _, p := range l.of(nodes) {
		p.requests.open()
		p.answers.open()
	}
}

// Drop breaks the connections of the lane: what is on the way or held back is lost. New ones may be
// made, unless the lane is cut.
func (l *Lane) Drop(nodes ...int) {
	for _, p := range l.of(nodes) {
		p.drop()
	}
}

func (l *Lane) of(nodes []int) []*proxy {
	if len(nodes) == 0 {
		return l.proxies
	}
	var of []*proxy
	for _, id := range nodes {
		of = append(of, l.proxies[id])
	}
	return of
}
