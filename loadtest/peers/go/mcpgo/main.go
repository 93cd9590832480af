// mark3labs/mcp-go, no session.  usage: mcpgo PORT
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strconv"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

func add(_ context.Context, request mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	a, err := request.RequireInt("a")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	b, err := request.RequireInt("b")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultText(strconv.Itoa(a + b)), nil
}

func main() {
	serving := server.NewMCPServer("mcpgo", "1.0.0", server.WithToolCapabilities(false))
	serving.AddTool(mcp.NewTool("add", mcp.WithDescription("Add two numbers."),
		mcp.WithNumber("a", mcp.Required()), mcp.WithNumber("b", mcp.Required())), add)
	http.Handle("/mcp", server.NewStreamableHTTPServer(serving, server.WithStateLess(true)))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
