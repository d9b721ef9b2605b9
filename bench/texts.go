package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// words of the generated texts: enough of them that texts differ, all known to the model.
var words = strings.Fields(`time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point home water room mother area
money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game
line end member law car city community name president team minute idea kid body information back parent face others level office
door health person art war history party result change morning reason research girl guy moment air teacher force education red blue
green heavy light small large quick slow bright dark warm cold sharp round flat smooth rough metal wooden paper glass cotton silk
leather shirt jacket shoe boot hat glove scarf lamp table chair desk bed clock watch phone camera radio screen keyboard mouse cable
river mountain forest desert island ocean lake bridge road train plane ship truck bicycle engine wheel garden kitchen window`)

// text is a sentence of n words.
func text(rng *rand.Rand, n int) string {
	var sb strings.Builder
	for i := range n {
		if i > 0 {
			sb.WriteByte(' ')
		}
		sb.WriteString(words[rng.IntN(len(words))])
	}
	return sb.String()
}

// event is one event of the default mapping as JSON.
func event(id, entity, text string) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"entity_id":%q,"payload":{"text":%q}}`, id, entity, text)
}

// sizedEvent is an event of exactly size bytes, newline included.
func sizedEvent(rng *rand.Rand, id, entity string, size int) []byte {
	e := event(id, entity, text(rng, 2)) // and as many more as fit
	for len(e)+1 < size {
		pad := words[rng.IntN(len(words))]
		room := size - 1 - len(e)
		if len(pad)+1 > room {
			pad = strings.Repeat("x", max(0, room-1))
		}
		e = append(e[:len(e)-3], " "+pad+`"}}`...)
	}
	return append(e[:min(len(e), size-1)], '\n')
}
