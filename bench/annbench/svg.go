package annbench

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// The drawing, in pixels.
const (
	svgWidth, svgHeight           = 860, 520
	plotLeft, plotRight           = 80, 640
	plotTop, plotBottom           = 50, 460
	lowestRecall                  = 0.8
	markSize, legendStep, tickGap = 3, 22, 8
)

// colours of the curves; ours is the first.
func colour(i int) string {
	list := []string{"#d62728", "#1f77b4", "#2ca02c", "#98df8a", "#17becf", "#9467bd", "#c5b0d5", "#8c564b"}
	return list[i%len(list)]
}

// SVG draws the curves: recall to the right on a scale that widens toward 1, queries per second upwards, logarithmic.
func (r *Result) SVG(title string) []byte {
	curves := Curves(r.Rows)
	lo, hi := math.Inf(1), 0.0
	for _, c := range curves {
		for _, p := range c.Rows {
			if p.Recall >= lowestRecall {
				lo, hi = min(lo, p.QPS), max(hi, p.QPS)
			}
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n",
		svgWidth, svgHeight, svgWidth, svgHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, svgHeight)
	text(&b, plotLeft, 28, "start", "queries/s on one thread: "+title)
	if hi == 0 {
		text(&b, plotLeft, plotTop+40, "start", "no point with a recall of "+fmt.Sprint(lowestRecall))
		b.WriteString("</svg>\n")
		return b.Bytes()
	}
	y := scale{math.Log(lo * 0.8), math.Log(hi * 1.25), plotBottom, plotTop}
	axes(&b, y, r)
	for i, c := range curves {
		draw(&b, c, i, y)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scale maps values to pixels.
type scale struct{ from, to, first, last float64 }

func (s scale) at(v float64) float64 {
	return s.first + (v-s.from)/(s.to-s.from)*(s.last-s.first)
}

// recallX places a recall by the logarithm of what is missing to 1, which shows 0.95, 0.98 and 0.99 apart.
func recallX(recall float64) float64 {
	missing := func(r float64) float64 { return -math.Log(math.Max(1-r, 0) + 0.001) }
	return scale{missing(lowestRecall), missing(1), plotLeft, plotRight}.at(missing(recall))
}

func axes(b *bytes.Buffer, y scale, result *Result) {
	for _, r := range []float64{0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1} {
		line(b, recallX(r), plotTop, recallX(r), plotBottom, "#dddddd")
		text(b, recallX(r), plotBottom+18, "middle", fmt.Sprint(r))
	}
	for decade := 1.0; decade < 1e9; decade *= 10 {
		for _, step := range []float64{1, 2, 5} {
			if v := math.Log(decade * step); v >= y.from && v <= y.to {
				line(b, plotLeft, y.at(v), plotRight, y.at(v), "#dddddd")
				text(b, plotLeft-tickGap, y.at(v)+4, "end", thousands(decade*step))
			}
		}
	}
	line(b, recallX(result.Target), plotTop, recallX(result.Target), plotBottom, "#888888")
	text(b, (plotLeft+plotRight)/2, plotBottom+42, "middle", fmt.Sprintf("recall@%d", result.K))
}

func draw(b *bytes.Buffer, c Curve, i int, y scale) {
	var path []string
	for _, r := range c.Rows {
		if r.Recall >= lowestRecall {
			path = append(path, fmt.Sprintf("%.1f,%.1f", recallX(r.Recall), y.at(math.Log(r.QPS))))
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour(i))
	for _, p := range path {
		x, py, _ := strings.Cut(p, ",")
		fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="%d" fill="%s"/>`+"\n", x, py, markSize, colour(i))
	}
	at := float64(plotTop + 10 + i*legendStep)
	fmt.Fprintf(b, `<rect x="%d" y="%.0f" width="24" height="4" fill="%s"/>`+"\n", plotRight+20, at-2, colour(i))
	text(b, plotRight+50, at+4, "start", c.Name)
}

func line(b *bytes.Buffer, x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
}

func text(b *bytes.Buffer, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
}

// thousands writes 20000 as 20k.
func thousands(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%gk", v/1000)
	}
	return fmt.Sprint(v)
}
