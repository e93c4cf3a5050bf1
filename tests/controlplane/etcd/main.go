// Runs one etcd member for tests, from its library, with the flags of etcd's own command that tests need.
package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	dir := flag.String("data-dir", "", "where the data is kept")
	clients := flag.String("listen-client-urls", "http://127.0.0.1:2379", "address for clients")
	_ = flag.String("advertise-client-urls", "", "as etcd's own command has it; the address for clients is told here")
	peers := flag.String("listen-peer-urls", "http://127.0.0.1:2380", "address for peers; nobody comes")
	noFsync := flag.Bool("unsafe-no-fsync", true, "do not wait for the disk")
	flag.Parse()

	config := embed.NewConfig()
	config.Dir = *dir
	config.UnsafeNoFsync = *noFsync
	config.LogLevel = "error"
	config.ListenClientUrls = urls(*clients)
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = urls(*peers)
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)

	member, err := embed.StartEtcd(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-member.Server.ReadyNotify()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	member.Close()
}

func urls(text string) []url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return []url.URL{*parsed}
}
