package registry

import "time"

// Expire lets what is kept for a while be over.
func Expire(d *Decoder) {
	now := d.schemas.now()
	d.schemas.now = func() time.Time { return now.Add(time.Minute) }
}
