// Command reference evaluates the expressions of table.yaml with cel-go and with the functions that Kubernetes adds to it, and
// prints one JSON line for each: {"value": …} or {"error": …}. tests/cel_differential.rs reads it.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"k8s.io/apiserver/pkg/cel/library"
	"sigs.k8s.io/yaml"
)

type entry struct {
	Expression string          `json:"expression"`
	Input      json.RawMessage `json:"input"`
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var table struct {
		Now     string          `json:"now"`
		Input   json.RawMessage `json:"input"`
		Entries []entry         `json:"entries"`
	}
	if err := yaml.Unmarshal(text, &table); err != nil {
		panic(err)
	}
	now, err := time.Parse(time.RFC3339, table.Now)
	if err != nil {
		panic(err)
	}
	env, err := cel.NewEnv(
		cel.Variable("object", cel.DynType),
		cel.Variable("oldObject", cel.DynType),
		cel.Variable("now", cel.TimestampType),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.EnableIdentifierEscapeSyntax(),
		ext.Strings(),
		ext.Math(),
		ext.Sets(),
		ext.Encoders(),
		ext.Lists(),
		library.Lists(),
		library.Regex(),
	)
	if err != nil {
		panic(err)
	}
	for _, one := range table.Entries {
		input := one.Input
		if input == nil {
			input = table.Input
		}
		value, err := evaluate(env, one.Expression, input, now)
		line := `{"value":` + value + `}`
		if err != nil {
			told, _ := json.Marshal(err.Error())
			line = `{"error":` + string(told) + `}`
		}
		fmt.Println(line)
	}
}

func evaluate(env *cel.Env, expression string, input json.RawMessage, now time.Time) (written string, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return "", issues.Err()
	}
	program, err := env.Program(ast)
	if err != nil {
		return "", err
	}
	variables := map[string]any{"object": nil, "oldObject": nil, "now": now}
	decoder := json.NewDecoder(strings.NewReader(string(input)))
	decoder.UseNumber()
	given := map[string]any{}
	if err := decoder.Decode(&given); err != nil {
		return "", err
	}
	for name, value := range given {
		variables[name] = typed(value)
	}
	value, _, err := program.Eval(variables)
	if err != nil {
		return "", err
	}
	return write(value)
}

// typed makes whole numbers of JSON int, or uint where they do not fit, as Kubernetes does with those of a schema.
func typed(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := strconv.ParseInt(value.String(), 10, 64); err == nil {
			return whole
		}
		if whole, err := strconv.ParseUint(value.String(), 10, 64); err == nil {
			return whole
		}
		number, _ := value.Float64()
		return number
	case []any:
		for position := range value {
			value[position] = typed(value[position])
		}
	case map[string]any:
		for key := range value {
			value[key] = typed(value[key])
		}
	}
	return value
}

// write is JSON in which a double always has a point or an exponent, so that it is told from an int.
func write(value ref.Val) (string, error) {
	switch value := value.(type) {
	case types.Null:
		return "null", nil
	case types.Bool:
		return strconv.FormatBool(bool(value)), nil
	case types.Int:
		return strconv.FormatInt(int64(value), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(value), 10), nil
	case types.Double:
		if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
			return "", fmt.Errorf("%v is not in JSON", value)
		}
		written := strconv.FormatFloat(float64(value), 'e', -1, 64)
		return written, nil
	case types.String:
		written, err := json.Marshal(string(value))
		return string(written), err
	case types.Bytes:
		return `"` + base64.StdEncoding.EncodeToString(value) + `"`, nil
	case types.Timestamp:
		return `"` + value.UTC().Format(time.RFC3339Nano) + `"`, nil
	case types.Duration:
		return `"` + string(value.ConvertToType(types.StringType).(types.String)) + `"`, nil
	case traits.Lister:
		var parts []string
		for iterator := value.Iterator(); iterator.HasNext() == types.True; {
			part, err := write(iterator.Next())
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return "[" + strings.Join(parts, ",") + "]", nil
	case traits.Mapper:
		var parts []string
		for iterator := value.Iterator(); iterator.HasNext() == types.True; {
			key := iterator.Next()
			name, err := json.Marshal(fmt.Sprint(key.Value()))
			if err != nil {
				return "", err
			}
			part, err := write(value.Get(key))
			if err != nil {
				return "", err
			}
			parts = append(parts, string(name)+":"+part)
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, ",") + "}", nil
	case *types.Err:
		return "", value
	}
	return "", fmt.Errorf("a value of type %s is not in JSON", value.Type().TypeName())
}
