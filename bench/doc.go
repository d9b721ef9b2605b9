// Package bench measures freshet: what `freshet bench …` runs. Results are JSON on the last
// line of standard output; README.md in this folder says how to read them and holds the
// published figures.
//
// A benchmark runs the real thing: a server in a process of its own where HTTP is measured,
// a whole node on a real disk otherwise. Inputs are seeded and made before the clock starts.
package bench
