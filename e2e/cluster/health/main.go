// What Flux and Argo CD think of objects: `health ARGOCD_CM < LIST` reads a list of objects as JSON and prints for each
// its name and both verdicts.
//
// Flux's is its own library. Argo CD's module cannot be had without the rest of Argo CD, so its checks run here on the
// Lua engine that it uses, with the libraries that it opens for them, under its limit of time. ARGOCD_CM is a file with
// the ConfigMap that a user would apply.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

type verdict struct {
	Name    string `json:"name"`
	Flux    string `json:"flux"`
	Argo    string `json:"argo"`
	Message string `json:"message"`
}

// As Argo CD has it.
const longest = time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: health ARGOCD_CM < LIST")
	}
	checks, err := read(os.Args[1])
	if err != nil {
		return err
	}
	var list struct{ Items []map[string]any }
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("reading the list: %w", err)
	}
	out := json.NewEncoder(os.Stdout)
	for _, item := range list.Items {
		object, err := parsed(item)
		if err != nil {
			return err
		}
		said, err := judge(object, checks)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := out.Encode(said); err != nil {
			return err
		}
	}
	return nil
}

// The checks of the ConfigMap by the key that Argo CD looks them up by.
func read(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var settings struct{ Data map[string]string }
	return settings.Data, yaml.Unmarshal(text, &settings)
}

// As a client reads it: whole numbers are int64.
func parsed(item map[string]any) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(item)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(text)
}

func judge(object *unstructured.Unstructured, checks map[string]string) (*verdict, error) {
	flux, err := status.Compute(object)
	if err != nil {
		return nil, fmt.Errorf("asking Flux: %w", err)
	}
	key := "resource.customizations.health." + object.GroupVersionKind().Group + "_" + object.GetKind()
	script, found := checks[key]
	if !found {
		return nil, fmt.Errorf("there is no %s", key)
	}
	said, err := execute(script, object)
	if err != nil {
		return nil, fmt.Errorf("asking Argo CD: %w", err)
	}
	said.Name, said.Flux = object.GetName(), flux.Status.String()
	return said, nil
}

func execute(script string, object *unstructured.Unstructured) (*verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	state.SetContext(ctx)
	text, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	value, err := luajson.Decode(state, text)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", value)
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	answer, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return nil, err
	}
	var health struct{ Status, Message string }
	if err := json.Unmarshal(answer, &health); err != nil {
		return nil, err
	}
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return &verdict{Argo: health.Status, Message: health.Message}, nil
	}
	return nil, fmt.Errorf("%q is no health that Argo CD knows", health.Status)
}
