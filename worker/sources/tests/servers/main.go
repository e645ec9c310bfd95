// Real servers for the tests: `servers s3 [ADDRESS]` keeps objects in memory and checks every signature,
// `servers registry FOLDER` is the registry that container tools speak to, with a password.
//
// Each prints its address on one line and serves until its input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

const (
	user     = "anna"
	password = "a-password-of-tests"
)

func main() {
	var handler http.Handler
	address := "127.0.0.1:0"
	switch {
	case len(os.Args) >= 2 && len(os.Args) <= 3 && os.Args[1] == "s3":
		if len(os.Args) == 3 {
			address = os.Args[2]
		}
		backend := s3mem.New()
		must(backend.CreateBucket(context.Background(), "models"))
		faker := gofakes3.New(backend, gofakes3.WithV4Auth(map[string]string{user: password}))
		handler = faker.Server()
	case len(os.Args) == 3 && os.Args[1] == "registry":
		handler = registry(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: servers s3 [ADDRESS] | servers registry FOLDER")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", address)
	must(err)
	fmt.Println(listener.Addr())
	go func() { must(http.Serve(listener, handler)) }()
	_, err = io.Copy(io.Discard, os.Stdin)
	must(err)
}

func registry(folder string) http.Handler {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(err)
	passwords := folder + "/htpasswd"
	must(os.WriteFile(passwords, []byte(user+":"+string(hash)+"\n"), 0o600))
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": configuration.Parameters{}},
		Auth: configuration.Auth{"htpasswd": configuration.Parameters{
			"realm": "tests", "path": passwords,
		}},
	}
	config.HTTP.Secret = "of tests"
	config.Catalog.MaxEntries = 10
	logrus.SetOutput(io.Discard)
	return handlers.NewApp(context.Background(), config)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
