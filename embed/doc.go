// Package embed turns content into vectors: adapters that give the models of its sub-packages
// the shape of freshet.Embedder.
package embed
