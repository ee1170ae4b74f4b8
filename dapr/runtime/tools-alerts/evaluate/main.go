// Evaluates PromQL over series that never were. Its standard input is a JSON list of {"load": ..., "expr": ..., "at": ...}:
// series as Prometheus' own tests write them, an expression, and a time since they began. It answers with a JSON list of
// how many series each expression gives then. Tests run it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

type scenario struct {
	Load string `json:"load"`
	Expr string `json:"expr"`
	At   string `json:"at"`
}

// fatal is what Prometheus' test helpers expect of a test: here whatever is wrong ends the program.
type fatal struct{}

func (fatal) Helper()                           {}
func (fatal) FailNow()                          { os.Exit(1) }
func (fatal) Fatal(args ...any)                 { fail(fmt.Errorf("%s", fmt.Sprintln(args...))) }
func (fatal) Fatalf(format string, args ...any) { fail(fmt.Errorf(format, args...)) }
func (fatal) Errorf(format string, args ...any) { fail(fmt.Errorf(format, args...)) }

func main() {
	var scenarios []scenario
	if err := json.NewDecoder(os.Stdin).Decode(&scenarios); err != nil {
		fail(err)
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	told := []int{}
	for _, one := range scenarios {
		count, err := evaluated(engine, one)
		if err != nil {
			fail(fmt.Errorf("%s: %w", one.Expr, err))
		}
		told = append(told, count)
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		fail(err)
	}
}

func evaluated(engine *promql.Engine, one scenario) (int, error) {
	at, err := time.ParseDuration(one.At)
	if err != nil {
		return 0, err
	}
	storage := promqltest.LoadedStorage(fatal{}, one.Load)
	defer storage.Close()
	query, err := engine.NewInstantQuery(context.Background(), storage, nil, one.Expr, time.Unix(0, 0).Add(at))
	if err != nil {
		return 0, err
	}
	defer query.Close()
	result := query.Exec(context.Background())
	if result.Err != nil {
		return 0, result.Err
	}
	if kind := result.Value.Type(); kind != parser.ValueTypeVector {
		return 0, fmt.Errorf("an alert is a vector, not a %s", kind)
	}
	return len(result.Value.(promql.Vector)), nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
