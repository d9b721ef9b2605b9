// Package chunk splits a text that is too long for one vector into spans that make a point
// each. It only finds places in the text: it changes nothing, counts no tokens and knows no
// model.
//
//	for _, s := range chunk.Split(text, chunk.Options{}) {
//		embed(text[s.Start:s.End])
//	}
//
// # What it promises
//
// Split is a function of the text and the options alone; [Options.Describe] names all that it
// depends on. The spans are in order, none is empty, none begins or ends with white space, and
// every character that isn't white space is in one. A text of at most MaxBytes is one span,
// one of nothing but white space none. No span is longer than MaxBytes, unless the text has so
// many of them that MaxChunks would be passed: then all of them are longer, as many times as
// it takes, and still nothing is left out. No cut goes through a UTF-8 sequence; if a text
// has no white space to cut at, none goes between a letter and its accents, through an emoji
// made of several, or through a flag. Text that isn't UTF-8 is cut anywhere. The time is
// linear in the length.
//
// # Where it cuts
//
// Each cut lies between half of MaxBytes and MaxBytes behind the last one. There Split takes
// the best kind of place it finds: an empty line, else the end of a line, else the end of a
// sentence, else white space, else any character. Of several of the same kind it takes the
// one nearest to where the rest of the text would be cut into equal parts, so that the last
// chunk is not a scrap: a mean over five words says little, and is near to everything.
//
// # The defaults
//
// The built-in model is a mean over token vectors. The longer the text, the more its mean
// loses what one sentence says: documentation on that is in [DefaultMaxBytes]. Because such a
// model doesn't see the order of words, an overlap only repeats tokens, and the default is
// none; for a model with attention, a sentence or two (100 to 200 bytes) keeps what refers
// back.
package chunk
