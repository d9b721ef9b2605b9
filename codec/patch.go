package codec

import "github.com/freshet-io/freshet"

// MergePatch applies a JSON merge patch (RFC 7396) to a JSON object, and returns the object that it
// gives. Members keep their bytes and their order; those that the patch adds come behind them in
// its own. Of members that stand several times in one object the last one counts where the patch
// names it. The error is a *freshet.Error.
func MergePatch(target, patch []byte) ([]byte, error) {
	return appendMerged(make([]byte, 0, len(target)+len(patch)), target, patch)
}

// appendMerged appends what patch, an object, makes of target; of anything but an object it makes
// one anew.
func appendMerged(b, target, patch []byte) ([]byte, error) {
	changes, err := Members(patch, nil)
	if err != nil {
		return nil, err
	}
	var members []Member
	if len(target) > 0 && target[0] == '{' {
		if members, err = Members(target, nil); err != nil {
			return nil, err
		}
	}
	last := make(map[string]int, len(changes))
	for i := range changes {
		last[changes[i].Name] = i
	}
	old := make(map[string][]byte, len(changes)) // values of the members that the patch names
	for i := range members {
		if _, named := last[members[i].Name]; named {
			old[members[i].Name] = members[i].Value
		}
	}
	b = append(b, '{')
	empty := len(b)
	comma := func() {
		if len(b) > empty {
			b = append(b, ',')
		}
	}
	put := func(c *Member) error { // its merged value
		if c.Value[0] == 'n' {
			return nil
		}
		comma()
		if c.Value[0] != '{' {
			b = append(b, c.Raw...)
			return nil
		}
		b = append(b, c.Raw[:len(c.Raw)-len(c.Value)]...)
		b, err = appendMerged(b, old[c.Name], c.Value)
		return err
	}
	for i := range members {
		at, named := last[members[i].Name]
		if _, first := old[members[i].Name]; !named && !first {
			comma()
			b = append(b, members[i].Raw...)
		} else if named {
			if err := put(&changes[at]); err != nil {
				return nil, err
			}
			delete(last, members[i].Name) // it has its place
		}
	}
	for i := range changes {
		if at, left := last[changes[i].Name]; left && at == i {
			if err := put(&changes[i]); err != nil {
				return nil, err
			}
		}
	}
	return append(b, '}'), nil
}

// checkPatch refuses what a patch can't have.
func checkPatch(ev *freshet.Event) error {
	if ev.Op != freshet.OpPatch || ev.Order == 0 {
		return nil
	}
	return &freshet.Error{Code: freshet.CodeOrderMismatch, Field: "order",
		Message: "stands in a patch, which applies to what is stored at its place in the log; leave it out, or send the whole payload as \"upsert\""}
}
