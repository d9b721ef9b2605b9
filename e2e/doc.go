// Package e2e tests the built program as a black box: TestMain builds cmd/freshet once, and
// every test runs it as a process of its own on a free port of the loopback interface and
// talks to it over HTTP alone. Nothing of the module is imported.
//
// What is proved here:
//
//   - replay_test.go, kill_test.go: a real history ends in its known final state, each event
//     exactly once, whatever clients, connections and kill -9 do;
//   - token_test.go, wait_test.go, hammer_test.go: a token means that its events count in the
//     answer;
//   - events_test.go, ids_test.go, order_test.go, ingest_test.go, search_test.go,
//     routes_test.go: every outcome that is defined, and the error that says so;
//   - limits_test.go, stream_test.go, folder_test.go, life_test.go, command_test.go: what the
//     program refuses, bounds and prints, and how it starts and stops;
//   - quality_test.go: nDCG@10 on vaswani, held against testdata/vaswani.json.
//
// Tests on real data find it by FRESHET_SHARED, or as "shared" beside the module's root, and
// skip without it. Other variables: FRESHET_BIN names a program that is built already,
// FRESHET_E2E_RACE=1 builds it with the race detector, FRESHET_SEED repeats a run's random
// choices (each test prints its seed), FRESHET_UPDATE_GOLDEN=1 rewrites golden figures.
// With -short the longest tests are left out or shortened.
package e2e
