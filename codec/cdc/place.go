package cdc

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/freshet-io/freshet"
)

// place returns the event id of a change and, where it is asked for, its order.
func (d *Decoder) place(op string, source object) (id string, order int64, err error) {
	snapshot := op == Read
	if s := keyText(source.get("snapshot")); s != "" && s != "false" {
		snapshot = true
	}
	name := source.text("name")
	connector := source.text("connector")
	switch connector {
	case "mysql", "mariadb":
		file, pos := source.text("file"), integer(source.get("pos"))
		if file == "" {
			break
		}
		// The time keeps them apart where numbers of files start anew.
		id = fmt.Sprintf("%s/%s:%d:%d:%d:%s", name, file, pos, integer(source.get("row")), integer(source.get("ts_ms")), op)
		order = binlogOrder(file, pos)
	case "postgresql":
		if order = integer(source.get("lsn")); order > 0 {
			id = fmt.Sprintf("%s/%d:%d:%s", name, integer(source.get("txId")), order, op)
		}
	case "sqlserver":
		if lsn := source.text("change_lsn"); lsn != "" {
			id = fmt.Sprintf("%s/%s:%s:%s:%s", name, source.text("commit_lsn"), lsn, keyText(source.get("event_serial_no")), op)
		}
	case "oracle": // the same SCN may stand for many changes; RS_ID and SSN tell them apart
		if rs := source.text("rs_id"); rs != "" {
			id = fmt.Sprintf("%s/%s:%s:%s:%s:%s", name, source.text("txId"), keyText(source.get("scn")), strings.TrimSpace(rs), keyText(source.get("ssn")), op)
		}
	case "mongodb":
		seconds, ordinal := integer(source.get("ts_ms"))/1000, integer(source.get("ord"))
		if seconds <= 0 || ordinal <= 0 || seconds >= 1<<31 || ordinal >= 1<<32 {
			break
		}
		order = seconds<<32 | ordinal
		if source.get("txnNumber") == nil { // all changes of a transaction have one place
			id = fmt.Sprintf("%s/%d:%d:%s", name, seconds, ordinal, op)
		}
	}
	if snapshot {
		id = ""
	}
	if !d.opts.Order {
		return id, 0, nil
	}
	if order <= 0 {
		return id, 0, refuse(freshet.CodeOrderMismatch, "order", "is not known: the source (connector %q) has no place in the event that orders its changes; set codec.order to false", connector)
	}
	return id, order, nil
}

// binlogOrder makes one number of the number of a log file and a position in it; 0 where they don't fit.
func binlogOrder(file string, pos int64) int64 {
	const posBits = 40
	n, err := strconv.ParseInt(file[strings.LastIndexByte(file, '.')+1:], 10, 63-posBits)
	if err != nil || n < 0 || pos < 0 || pos >= 1<<posBits {
		return 0
	}
	return n<<posBits | pos
}
