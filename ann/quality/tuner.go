package quality

import "math"

// The rules of a Tuner.
const (
	// enough is how many samples a decision needs, and window how many count at most.
	enough = 48
	window = 256
	// step is by which factor the width of searches rises or falls at a time, and most how far it rises at most.
	step = 1.3
	most = 4.0
	// slack is how far above the target recall must be, for sure, before the width falls: as a share of what is missing
	// from the target to 1.
	slack = 0.5
	// patience is how many decisions in a row that found nothing to improve make an alert.
	patience = 2
	// caution is how many decisions a width that was too small is not tried again for.
	caution = 20
)

// Estimate is a share with the interval that has the true value with a probability of 95 %.
type Estimate struct {
	Recall, Low, High float64
	Samples           int
}

// Action is what a Tuner wants to be done.
type Action uint8

// The actions of a Tuner.
const (
	None   Action = iota
	Raised        // the width of searches has risen
	Lowered
	Repair // recall is below the target at the greatest width: missed points are to be linked anew
)

// Tuner keeps the recall of an index at a target: by the width of its searches, then by repairs, and where neither helps
// it raises an alert. It is for one goroutine at a time.
type Tuner struct {
	target  float64
	queries int     // that samples are of in turn
	factor  float64 // of the width
	samples []float64
	at      int // place of the next sample when the window is full
	failed  float64
	wait    int // decisions for which failed is not tried again
	stuck   int // decisions below the target at the greatest width
}

// NewTuner returns a tuner for a target recall. The samples will be of so many queries in turn: the same query measured
// twice says nothing new, so the interval is as wide as with that many samples.
func NewTuner(target float64, queries int) *Tuner {
	return &Tuner{target: target, queries: queries, factor: 1}
}

// Target is the recall that is aimed for.
func (t *Tuner) Target() float64 { return t.target }

// Factor is by how much searches are to be wider than they are set, from 1 to 4.
func (t *Tuner) Factor() float64 { return t.factor }

// Alert reports whether the target can't be reached.
func (t *Tuner) Alert() bool { return t.stuck >= patience }

// Add takes a measurement made with the present factor.
func (t *Tuner) Add(recall float64) {
	if len(t.samples) < window {
		t.samples = append(t.samples, recall)
		return
	}
	t.samples[t.at] = recall
	t.at = (t.at + 1) % window
}

// Estimate is the mean of the samples. The interval is that of the normal distribution, with the addition of two samples
// of 0 and two of 1 (Agresti and Coull), which keeps it from vanishing when all samples are alike.
func (t *Tuner) Estimate() Estimate {
	n := float64(len(t.samples))
	if n == 0 {
		return Estimate{High: 1}
	}
	var sum, squares float64
	for _, x := range t.samples {
		sum += x
		squares += x * x
	}
	mean := sum / n
	spread := math.Max(0, squares/n-mean*mean)
	n = min(n, float64(t.queries))
	// Of K neighbours each is a trial: four more trials, two of them found, are four K-ths of a sample.
	extra := 4.0 / K
	centre := (mean*n + extra/2) / (n + extra)
	half := 1.96 * math.Sqrt((spread+centre*(1-centre)/K/n)/(n+extra))
	return Estimate{Recall: mean, Low: math.Max(0, math.Min(mean, centre-half)), High: math.Min(1, math.Max(mean, centre+half)), Samples: len(t.samples)}
}

// Decide says what follows from the samples, once there are enough of them; then it begins anew with a new factor.
func (t *Tuner) Decide() Action {
	if len(t.samples) < enough {
		return None
	}
	e := t.Estimate()
	t.wait = max(0, t.wait-1)
	switch {
	case e.High < t.target || e.Recall < t.target && len(t.samples) == window:
		return t.below()
	case e.Low > t.target+slack*(1-t.target) && t.factor > 1 && (t.wait == 0 || t.factor/step > t.failed*1.01):
		t.stuck = 0
		t.change(math.Max(1, t.factor/step))
		return Lowered
	case e.Recall >= t.target:
		t.stuck = 0
	}
	return None
}

func (t *Tuner) below() Action {
	t.failed, t.wait = t.factor, caution
	if t.factor < most {
		t.change(math.Min(most, t.factor*step))
		return Raised
	}
	t.stuck++
	t.samples, t.at = t.samples[:0], 0
	return Repair
}

// change begins anew with another factor: the samples were of another width.
func (t *Tuner) change(factor float64) {
	t.factor, t.samples, t.at = factor, t.samples[:0], 0
}
