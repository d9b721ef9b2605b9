package process

import (
	"context"

	"github.com/freshet-io/freshet"
)

// Discard is the command that removes dead letters for good, where who asks for it need not be who decides. What is not there any more
// is passed over.
type Discard struct {
	Letters []LetterName `json:"letters"`
}

// LetterName names a dead letter of the log, or of the partition, that the command stands in.
type LetterName struct {
	Offset  int64 `json:"offset"`
	Ordinal int   `json:"ordinal"`
}

func (*Discard) kind() string { return "discard" }

func (*Discard) say(*plan) {}

// do implements deed. To an audit it says nothing: the fates of dead letters do.
func (c *Discard) do(s *Sequencer, p *plan, m *mapped, _ spot, _ *made) error {
	if s.recorded != nil {
		return nil
	}
	for _, l := range c.Letters {
		place := letter{l.Offset, l.Ordinal}
		there, refused, err := s.deadLetter(p, place, m.record.Position.Offset)
		if err != nil {
			return err
		}
		if there {
			p.take(fate{place, refused, dropped})
		}
	}
	return nil
}

// AppendDiscard puts the command into a log that removes its dead letters, and returns its offset. It has its effect when that is decided.
func AppendDiscard(ctx context.Context, log Appender, letters []freshet.DeadLetter) (offset int64, err error) {
	c := &Discard{}
	for i := range letters {
		c.Letters = append(c.Letters, LetterName{letters[i].Position.Offset, letters[i].Ordinal})
	}
	return AppendCommand(ctx, log, c)
}
