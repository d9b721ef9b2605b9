// Package static is freshet's built-in sentence embedding: a table with one vector per word piece.
//
// A text's vector is the sum of the vectors of its pieces, scaled to length 1. There is no attention and no network: a
// text of 12 words takes one to three microseconds on one core, and a process needs neither a model server nor a download.
// The table was learnt from all-MiniLM-L6-v2 (see train/); README.md tells how near it comes.
//
// What it does not do: languages other than English (their words fall apart into letters), the order of words ("dog
// bites man" equals "man bites dog"), and the meaning that a word has only in its sentence.
//
// The same text gives the same vector, to the bit, on every processor: the sums are taken in the order of the tokens
// without fused multiply-adds, and the tables of Unicode travel in the model file.
package static
