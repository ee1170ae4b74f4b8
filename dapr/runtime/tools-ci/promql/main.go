// Reads PromQL expressions from its standard input, a JSON list, and tells of each which series it looks at: a JSON list
// of lists of {"name": ..., "labels": [...]}. Labels are those that are matched, grouped by or joined on. Tests run it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type series struct {
	Name   string   `json:"name"`
	Labels []string `json:"labels"`
}

func main() {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		fail(err)
	}
	told := [][]series{}
	for _, expression := range expressions {
		parsed, err := parser.ParseExpr(expression)
		if err != nil {
			fail(fmt.Errorf("%s: %w", expression, err))
		}
		told = append(told, looked(parsed, nil))
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		fail(err)
	}
}

// looked walks down an expression; what it is grouped by or joined on above a series has to be a label of that series.
func looked(node parser.Node, above []string) []series {
	switch at := node.(type) {
	case *parser.VectorSelector:
		own := append([]string{}, above...)
		for _, matcher := range at.LabelMatchers {
			if matcher.Name != labels.MetricName {
				own = append(own, matcher.Name)
			}
		}
		slices.Sort(own)
		return []series{{at.Name, slices.Compact(own)}}
	case *parser.AggregateExpr:
		if !at.Without {
			above = append(slices.Clone(above), at.Grouping...)
		}
	case *parser.BinaryExpr:
		if at.VectorMatching != nil && at.VectorMatching.On {
			above = append(slices.Clone(above), at.VectorMatching.MatchingLabels...)
		}
	}
	found := []series{}
	for _, child := range parser.Children(node) {
		found = append(found, looked(child, above)...)
	}
	return found
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
