package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/node"
	"github.com/freshet-io/freshet/process/mapping"
)

const (
	asCloud      = "application/cloudevents+json"
	asCloudBatch = "application/cloudevents-batch+json"
)

// cloud is a cloud event with more attributes, each with a leading comma.
func cloud(id, subject, more string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/shop","type":"t","subject":%q%s}`, id, subject, more)
}

// The three forms that CloudEvents have over HTTP, under the default mapping and beside a configured one.
func TestCloudEvents(t *testing.T) {
	mapped := func(o *node.Options) {
		o.Config.Mapping = &mapping.Config{Changes: []mapping.Change{{Entity: "event.sku", Text: "event.name"}}}
	}
	for name, alter := range map[string][]func(*node.Options){"default": nil, "beside a mapping": {mapped}} {
		t.Run(name, func(t *testing.T) {
			a := start(t, alter...)
			token := func(got answer) string {
				t.Helper()
				in := must[ingested](t, got)
				if in.RejectedCount > 0 {
					t.Fatalf("rejected: %+v", in.Rejected)
				}
				return in.Token
			}
			state := func(entity, token string) string {
				t.Helper()
				got := a.get("/v1/entities/" + entity + "?after=" + token)
				if got.status == http.StatusNotFound {
					return "none"
				}
				e := must[struct {
					Text          string `json:"text"`
					SourceEventID string `json:"source_event_id"`
					Timestamp     int64  `json:"timestamp"`
					Events        int    `json:"events"`
				}](t, got)
				return fmt.Sprintf("%s of %s at %d, %d events", e.Text, e.SourceEventID, e.Timestamp, e.Events)
			}
			want := func(entity, token, want string) {
				t.Helper()
				if got := state(entity, token); got != want {
					t.Errorf("%s is %q, want %q", entity, got, want)
				}
			}
			at := a.do("POST", "/v1/events", asCloud, cloud("1", "a", `,"time":"1970-01-01T00:00:07Z","data":{"text":"red shoes"}`))
			want("a", token(at), "red shoes of 1 at 7000, 1 events")
			at = a.do("POST", "/v1/events", asCloudBatch, "["+cloud("1", "a", `,"data":{"text":"again"}`)+","+cloud("2", "b", `,"datacontenttype":"text/plain","data":"blue"`)+"]")
			want("a", token(at), "red shoes of 1 at 7000, 1 events")
			want("b", token(at), "blue of 2 at 0, 1 events")
			binary := func(id, source, op string) answer {
				headers := []string{"ce-specversion", "1.0", "ce-id", id, "ce-source", source, "ce-type", "t", "ce-subject", "%C3%A9"}
				if op != "" {
					headers = append(headers, "ce-op", op)
				}
				return a.do("POST", "/v1/events", "application/json", `{"text":"green `+source+`"}`, headers...)
			}
			want("%C3%A9", token(binary("3", "/x", "")), "green /x of 3 at 0, 1 events")
			want("%C3%A9", token(binary("3", "/x", "")), "green /x of 3 at 0, 1 events")
			want("%C3%A9", token(binary("3", "/y", "")), "green /y of 3 at 0, 2 events") // another source's ids are others
			want("%C3%A9", token(binary("4", "/x", "delete")), "none")
			want("%C3%A9", token(a.do("POST", "/v1/events", "", "", "ce-specversion", "1.0", "ce-id", `"a \"b\""`, "ce-source", "/z",
				"ce-type", "t", "ce-subject", "%C3%A9", "ce-op", "delete")), "none")

			for _, c := range []struct{ name, kind, body, code, field, detail string }{
				{"an event as a batch", asCloudBatch, cloud("5", "a", ""), "invalid_json", "", asCloud},
				{"a batch as an event", asCloud, "[" + cloud("5", "a", "") + "]", "invalid_json", "", asCloudBatch},
				{"another format", "application/cloudevents+avro", "x", "invalid_field", "Content-Type", asCloud},
				{"no subject", asCloud, strings.Replace(cloud("5", "", ""), `,"subject":""`, "", 1), "missing_field", "", "subject"},
				{"a patch with an order", asCloud, cloud("5", "a", `,"op":"patch","order":1`), "order_mismatch", "", "patch"},
				{"an unknown collection", asCloud, cloud("5", "a", `,"collection":"none"`), "unknown_collection", "", "none"},
			} {
				a.do("POST", "/v1/events", c.kind, c.body).mustFail(t, c.name, 400, c.code, c.field, c.detail)
			}
			a.do("POST", "/v1/events", "application/json", "{}", "ce-id", "5").mustFail(t, "no version", 400, "missing_field", "", "specversion")
			a.do("POST", "/v1/events", "application/json", "{}", "ce-specversion", "1.0", "ce-id", "%zz").mustFail(t, "no percent encoding", 400, "invalid_field", "id", "%XX")
		})
	}
}
