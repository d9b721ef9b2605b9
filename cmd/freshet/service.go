package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

// unit is a service of systemd. The server may write to its data folder alone.
var unit = template.Must(template.New("unit").Funcs(template.FuncMap{"argument": argument, "quote": quoteUnit}).Parse(`[Unit]
Description=freshet, a vector index true to an event stream
After=network-online.target
Wants=network-online.target

[Service]
EnvironmentFile=-/etc/default/freshet
ExecStart={{argument .Program}} run{{if .Config}} --config {{argument .Config}}{{end}} --data {{argument .Data}}
{{if .Config}}ExecReload=/bin/kill -HUP $MAINPID
{{end}}User={{.User}}
Restart=on-failure
RestartSec=1
TimeoutStopSec=90
LimitNOFILE=65536
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
ReadWritePaths={{quote .Data}}

[Install]
WantedBy=multi-user.target
`))

// quoteUnit writes a path as one word of a unit.
func quoteUnit(s string) string {
	return `"` + strings.NewReplacer(`%`, `%%`, `\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// argument writes a path as one argument of a command, in which variables are expanded too.
func argument(s string) string { return strings.ReplaceAll(quoteUnit(s), "$", "$$") }

// unitPath returns a path as a unit needs it.
func unitPath(path string) (string, error) {
	if strings.ContainsAny(path, "\r\n") {
		return "", fmt.Errorf("the path %q holds a line break, which a unit can't; rename it", path)
	}
	return filepath.Abs(path)
}

func newService() *cobra.Command {
	var flags nodeFlags
	var user string
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Print a service file for systemd",
		Long: "Prints a unit that runs this program on the data folder, which has to exist and belong to the user. Variables that\n" +
			"the configuration takes from the environment belong into /etc/default/freshet.\n\n" +
			"  freshet service --data /var/lib/freshet | sudo tee /etc/systemd/system/freshet.service\n" +
			"  sudo systemctl daemon-reload && sudo systemctl enable --now freshet",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			if user == "" || strings.ContainsAny(user, " \t\r\n") {
				return fmt.Errorf("--user: %q is no name of a user; name the one that owns the data folder", user)
			}
			values := struct{ Program, Config, Data, User string }{User: user}
			if values.Program, err = os.Executable(); err != nil {
				return err
			}
			if flags.config != "" {
				if values.Config, err = unitPath(flags.config); err != nil {
					return err
				}
			}
			if values.Data, err = unitPath(cfg.Data); err != nil {
				return err
			}
			return unit.Execute(cmd.OutOrStdout(), values)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&user, "user", "freshet", "`NAME` of the user that runs it")
	return cmd
}
