// Package config reads what the clients are told.
package config

import (
	"log"
	"os"
	"strings"
)

// Argument is the word at this place of the command line, or what is meant without it.
func Argument(place int, otherwise string) string {
	if len(os.Args) > place {
		return os.Args[place]
	}
	return otherwise
}

// Brokers are the addresses in a file of properties, `key=value` on each line.
func Brokers(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if servers, found := strings.CutPrefix(strings.TrimSpace(line), "bootstrap.servers="); found {
			return strings.Split(servers, ",")
		}
	}
	log.Fatalf("%s: no bootstrap.servers", path)
	return nil
}
